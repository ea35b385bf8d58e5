"""Both paths of a hybrid are trained by themselves and joined under one head."""

from pathlib import Path

import numpy as np
import pytest

from models.bundle.store import load_bundle
from models.classifier import build_classifier
from models.config import ClassifierConfig
from tests.training.tiny_run import TINY, RecordedProgress
from training.config import NgramsConfig, PhaseConfig, TrainConfig
from training.data.corpus import Corpus
from training.data.imdb import load_imdb
from training.run import train

OPTIONS = {"longest": 2, "buckets": 1 << 12, "dropout": 0.5, "bits": 8}
HYBRID = TrainConfig(
    name="hybrid",
    seed=3,
    batch_size=16,
    data=TINY.data,
    ngrams=NgramsConfig(epochs=2, learning_rate=0.3),
    model={"embedding_dim": 8, "encoder_units": 4, "attention_units": 4, "ngrams": OPTIONS, "ngram_share": 0.25},
    phases=(PhaseConfig(epochs=2, learning_rate=0.05),),
)


@pytest.fixture(scope="module")
def corpus(imdb_folder: Path) -> Corpus:
    return load_imdb(imdb_folder)


class Killed(Exception):
    pass


class Killer(RecordedProgress):
    """Kills a run in the second part."""

    def advance(self, task: str, done: int, total: int, figures: str = "") -> None:
        super().advance(task, done, total, figures)
        if "states:" in self.lines and done == 2:
            raise Killed


def test_a_killed_run_ends_where_the_unbroken_one_did(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.fit.CHECKPOINT_SECONDS", 0.0)  # after every batch
    cards = []
    for name in ("killed", "whole"):
        out, work = tmp_path / name, tmp_path / f"{name}.work"
        if name == "killed":
            with pytest.raises(Killed):
                train(HYBRID, corpus, out, work=work, resume=False, progress=Killer())
        cards.append(train(HYBRID, corpus, out, work=work, resume=name == "killed", progress=RecordedProgress()))
    assert cards[0].metrics == cards[1].metrics
    assert [entry["part"] for entry in cards[0].training["history"]] == ["ngrams", "ngrams", "states", "states"]
    bundle = load_bundle(tmp_path / "killed")
    ids = np.array([[2, 5, 3, 4, 2, 0, 0], [7, 0, 0, 0, 0, 0, 0]], np.int32)
    outputs = {name: np.asarray(output) for name, output in bundle.model(ids).items()}
    assert bundle.bases is not None
    contrast = outputs["logits"][:, 1] - outputs["logits"][:, 0]
    np.testing.assert_allclose(bundle.bases[1] + outputs["contributions"].sum(axis=1), contrast, atol=1e-5)
    np.testing.assert_allclose(outputs["attention"].sum(axis=1), 1, atol=1e-6)
    again = load_bundle(tmp_path / "whole").model(ids)
    np.testing.assert_allclose(outputs["logits"], np.asarray(again["logits"]), atol=1e-6)


def test_a_small_table_is_cross_validated(corpus: Corpus, tmp_path: Path) -> None:
    data = TINY.data.model_copy(update={"fewest_validation": 10_000, "folds": 2})
    config = HYBRID.model_copy(update={"data": data})
    card = train(config, corpus, tmp_path / "small", work=tmp_path / "work", resume=False, progress=RecordedProgress())
    assert card.training["cross_validated"]


@pytest.mark.parametrize(
    ("model", "fault"),
    [
        ({"mechanism": "ngram_attention", "encoder": "none"}, "beside another mechanism"),
        ({"ngrams": {"width": 3}}, "only options of ngrams"),
        ({"mechanism": "transformer", "encoder": "none"}, "beside an exact mechanism"),
        ({"ngram_share": 2.0}, "in \\[0, 1\\]"),
    ],
)
def test_wrong_options_are_refused(model: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        HYBRID.model_validate(HYBRID.model_dump() | {"model": {**HYBRID.model, **model}})


def test_ngrams_stand_beside_exact_mechanisms_alone() -> None:
    with pytest.raises(ValueError, match=r"beside an exact mechanism\. Received transformer"):
        build_classifier(ClassifierConfig(vocabulary_size=9, mechanism="transformer", encoder="none", ngrams={}))
