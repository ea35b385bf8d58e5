"""From a model's result to an answer: offsets, laws of the numbers, and the kernel beside its reference."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models import native
from models.bundle.parts import BundleParts
from models.bundle.store import load_bundle
from models.tokenizer import Tokenizer
from service.inference.engine import Result
from service.inference.errors import PredictionFailed
from service.predictions import OFFSET_ENCODINGS, OffsetEncoding, describe_prediction, unit_offsets

ROOT = Path(__file__).parents[2]
CODEC = {"codepoint": ("utf-32-le", 4), "utf16": ("utf-16-le", 2), "utf8": ("utf-8", 1)}
PLAIN_TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)
TOKENIZER = Tokenizer(["a", "it's", "é"])
ODD_PIECES = [*'aé" ', "it's", "\\", "\x00", "\x1f", "\x7f", "\b", "\f", "😀", "中", "<br/>"]
TEXTS = PLAIN_TEXTS | st.lists(st.sampled_from(ODD_PIECES)).map("".join)


@pytest.fixture(scope="module")
def bundle(models_dir: Path, compiled: None) -> BundleParts:
    return load_bundle(models_dir / "default")


@given(text=PLAIN_TEXTS, encoding=st.sampled_from(OFFSET_ENCODINGS), data=st.data())
def test_a_slice_in_units_is_the_slice_in_code_points(text: str, encoding: OffsetEncoding, data: st.DataObject) -> None:
    start, end = sorted(data.draw(st.tuples(st.integers(0, len(text)), st.integers(0, len(text)))))
    unit_start, unit_end = unit_offsets(text, np.array([start, end], dtype=np.int32), encoding).tolist()
    codec, width = CODEC[encoding]
    assert text.encode(codec)[unit_start * width : unit_end * width].decode(codec) == text[start:end]


@pytest.mark.parametrize(
    ("encoding", "expected"), [("codepoint", [0, 1, 2, 3, 4]), ("utf16", [0, 1, 2, 3, 5]), ("utf8", [0, 1, 3, 6, 10])]
)
def test_one_character_of_each_width(encoding: OffsetEncoding, expected: list[int]) -> None:
    assert unit_offsets("aé€🎬", np.arange(5), encoding).tolist() == expected


def test_no_offsets_give_no_offsets() -> None:
    assert unit_offsets("é", np.zeros(0, dtype=np.int32), "utf8").tolist() == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(seed=st.integers(0, 10_000), size=st.floats(0, 2), tokens=st.integers(1, 60))
def test_contributions_add_up_however_certain_the_model_is(
    bundle: BundleParts, seed: int, size: float, tokens: int
) -> None:
    generator = np.random.default_rng(seed)
    contributions = generator.normal(size, size, tokens).astype(np.float32)
    base = bundle.base_log_odds(1)
    assert base is not None
    difference = base * bundle.card.temperature + contributions.sum(dtype=np.float64)
    result = Result(
        logits=np.array([0, difference], np.float32),
        attention=generator.dirichlet(np.ones(tokens)).astype(np.float32),
        contributions=contributions,
    )
    text = "it " * tokens
    written = json.loads(json.dumps(describe_prediction(bundle, text, bundle.tokenizer.encode(text, 64), result)))
    scores = written["scores"]
    explained = written["base_log_odds"] + sum(token["contribution"] for token in written["tokens"])
    assert explained == pytest.approx(math.log(scores["positive"]) - math.log(scores["negative"]), abs=1e-4)
    assert sum(token["weight"] for token in written["tokens"]) == pytest.approx(1, abs=1e-5)
    likeliest = written["probability"]
    if 0.5 < likeliest < 1 - 1e-8:  # with two labels, one probability is all a client needs
        sign = 1 if written["label"] == "positive" else -1
        assert sign * math.log(likeliest / (1 - likeliest)) == pytest.approx(explained, abs=1e-3)


def test_a_mechanism_without_exact_contributions_says_so(bundle: BundleParts) -> None:
    result = Result(np.zeros(2, np.float32), np.ones(1, np.float32), None)
    written = describe_prediction(bundle, "dull", bundle.tokenizer.encode("dull", 64), result)
    assert written["base_log_odds"] is None
    assert [token["contribution"] for token in written["tokens"]] == [None]


def test_logits_that_are_no_numbers_are_a_failed_prediction_and_never_null(bundle: BundleParts) -> None:
    result = Result(np.array([np.nan, 0], np.float32), np.ones(1, np.float32), None)
    with pytest.raises(PredictionFailed, match="not a finite number"):
        describe_prediction(bundle, "dull", bundle.tokenizer.encode("dull", 64), result)


@settings(max_examples=400, deadline=None)
@given(
    text=TEXTS,
    seed=st.integers(0, 99),
    power=st.sampled_from([1, 8, 60]),
    size=st.sampled_from([1e-12, 1e-6, 1e-3, 1.0, 1e4]),
    exact=st.booleans(),
    top=st.sampled_from([None, 1, 3]),
    offsets=st.sampled_from(OFFSET_ENCODINGS),
)
def test_the_kernel_writes_what_the_dicts_say(
    bundle: BundleParts, text: str, seed: int, power: int, size: float, exact: bool, top: int | None, offsets: Any
) -> None:
    encoding = TOKENIZER.encode(text, 20)
    tokens = len(encoding.ids)
    generator = np.random.default_rng(seed)
    weights = (generator.random(tokens) ** power).astype(np.float32)  # down to zero
    contributions = (size * generator.normal(size=tokens)).astype(np.float32) if exact else None
    result = Result(np.zeros(2, np.float32), weights, contributions)
    said, written = (
        orjson.loads(
            orjson.dumps(
                describe_prediction(
                    bundle, text, encoding, result, top_tokens=top, offset_encoding=offsets, for_json=for_json
                )
            )
        )
        for for_json in (False, True)
    )
    for one, other in zip(said["tokens"], written["tokens"], strict=True):
        # Below 1e-17 the scale of the reference's rounding is no exact power of ten.
        assert one.pop("weight") == pytest.approx(other.pop("weight"), rel=1e-15, abs=0)
    assert said == written


@pytest.mark.parametrize(("weight", "share"), [(1, 1e30), (1e30, 1), (np.inf, 1), (np.nan, 1), (-1, 1)])
def test_numbers_that_the_kernel_cannot_write_are_left_to_the_dicts(
    bundle: BundleParts, weight: float, share: float
) -> None:
    encoding = TOKENIZER.encode("a a", 20)
    weights, shares = (np.array([0.5, number], np.float32) for number in (weight, share))
    result = Result(np.zeros(2, np.float32), weights, shares)
    with np.errstate(all="ignore"):
        tokens = describe_prediction(bundle, "a a", encoding, result, for_json=True)["tokens"]
    assert isinstance(tokens, list)
    assert tokens[1]["contribution"] == pytest.approx(share / bundle.card.temperature)


def test_without_the_compiled_kernel_there_are_dicts(bundle: BundleParts) -> None:
    encoding = TOKENIZER.encode("a", 20)
    result = Result(np.zeros(2, np.float32), np.ones(1, np.float32), None)
    native.use(False)
    try:
        assert isinstance(describe_prediction(bundle, "a", encoding, result, for_json=True)["tokens"], list)
    finally:
        native.use(True)


def test_the_module_loads_without_the_kernels() -> None:
    program = "import sys; sys.modules['models.native.text'] = None; import service.predictions as p; "
    subprocess.run([sys.executable, "-c", program + "assert p.write_tokens is None"], cwd=ROOT, check=True)
