"""Every peer can be started, asked and read; what they share answers as the service does."""

from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from benchmarks.serving.peers.classifier import Classifier
from benchmarks.serving.peers.roster import FOLDER, PEERS, from_tensor, tensor_body
from models.bundle.store import load_bundle
from service.inference.engine import Result
from service.predictions import describe_prediction


def test_every_folder_is_of_a_peer() -> None:
    folders = {path.parent.name for path in FOLDER.glob("*/requirements.in")}
    assert {peer.name for peer in PEERS} == folders
    assert all((FOLDER / peer.name / "server.py").is_file() for peer in PEERS)


@pytest.mark.parametrize("file", sorted(FOLDER.rglob("requirements.in")), ids=lambda file: file.parent.name)
def test_requirements_are_exact_versions(file: Path) -> None:
    for line in file.read_text().splitlines():
        if line == "-r ../requirements.in":
            continue
        [specifier] = Requirement(line).specifier
        assert specifier.operator == "=="
        assert "*" not in specifier.version


def test_a_tensor_carries_a_text_there_and_an_answer_back() -> None:
    assert tensor_body("text")["inputs"][0]["data"] == ["text"]
    assert from_tensor({"outputs": [{"data": ['{"label": "positive"}']}]}) == {"label": "positive"}


@pytest.mark.parametrize("predict", [False, True], ids=["tf.function", "predict"])
def test_the_peers_answer_is_the_services(predict: bool) -> None:
    bundle = load_bundle(FOLDER.parents[2] / "models" / "saved" / "default")
    texts = ["I did not like it.", "A wonderful, moving film, and a long one: " + "really long, " * 20]
    for text, answer in zip(texts, Classifier(predict=predict).answers(texts), strict=True):
        encoding = bundle.tokenizer.encode(text, bundle.card.max_tokens)
        outputs = {name: np.asarray(values)[0] for name, values in bundle.model(encoding.ids[None]).items()}
        result = Result(outputs["logits"], outputs["attention"], outputs["contributions"])
        ours = describe_prediction(bundle, text, encoding, result)
        assert answer["label"] == ours["label"]
        assert answer["scores"] == pytest.approx(ours["scores"], abs=1e-5)
        for field in ("text", "start", "end"):
            assert [token[field] for token in answer["tokens"]] == [token[field] for token in ours["tokens"]]
        for field in ("weight", "contribution"):
            np.testing.assert_allclose(
                [token[field] for token in answer["tokens"]], [token[field] for token in ours["tokens"]], atol=1e-5
            )
