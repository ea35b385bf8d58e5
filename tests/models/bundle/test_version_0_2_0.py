"""Bundles that version 0.2.0 wrote load and answer as they did then."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.bundle.onnx.bundle import load_onnx_bundle
from models.bundle.store import load_bundle

FOLDER = Path(__file__).parents[2] / "data" / "version_0_2_0"
ANSWERS = json.loads((FOLDER / "answers.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("name", "load"),
    [
        *((name, load_bundle) for name in ("bilstm", "stars", "plain")),
        *((name, load_onnx_bundle) for name in ("bilstm", "stars")),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
def test_a_bundle_answers_as_it_did(name: str, load: Any) -> None:
    bundle, expected = load(FOLDER / name), ANSWERS[name]
    assert bundle.card.version == expected["version"]
    assert bundle.kernel is None
    assert bundle.base_log_odds(1) == pytest.approx(expected["base_log_odds"], abs=1e-5)
    for answer in expected["texts"]:
        encoding = bundle.tokenizer.encode(answer["text"], bundle.card.max_tokens)
        for part in ("ids", "starts", "ends"):
            assert getattr(encoding, part).tolist() == answer[part]
        ids = encoding.ids if len(encoding.ids) else np.zeros(1, np.int32)
        outputs = {output: np.asarray(values)[0] for output, values in bundle.model(ids[None]).items()}
        np.testing.assert_allclose(outputs["logits"], answer["logits"], atol=1e-5)
        for output in ("attention", "contributions"):
            np.testing.assert_allclose(outputs[output][: len(encoding.ids)], answer[output], atol=1e-5)
