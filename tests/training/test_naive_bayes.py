from pathlib import Path

import keras
import numpy as np
import pytest

from models.bundle.store import load_bundle
from models.classifier import HEAD, build_classifier
from models.config import ClassifierConfig
from models.layers.ngram_attention import UNSEEN
from tests.training.tiny_run import TINY, Silent
from training.config import NgramsConfig, PhaseConfig, TrainConfig
from training.data import Corpus, load_imdb
from training.fit import EncodedTexts
from training.naive_bayes import start_at_naive_bayes
from training.run import train

GOOD, FILM, DULL, ONCE = 2, 3, 4, 5
TEXTS = ([GOOD, FILM], [GOOD, GOOD, FILM], [DULL, FILM], [ONCE])


def started(labels: list[int], **config: float) -> tuple[keras.Model, list[np.ndarray]]:
    model = build_classifier(
        ClassifierConfig(
            vocabulary_size=6,
            labels=max(labels) + 1,
            encoder="none",
            mechanism="ngram_attention",
            attention={"longest": 1, "buckets": 1 << 20},
        )
    )
    texts = EncodedTexts([np.array(text, np.int32) for text in TEXTS], np.array(labels, np.int32))
    start_at_naive_bayes(model, NgramsConfig(**config), texts)
    layer = model.get_layer("attention")
    ids = np.array([[GOOD, FILM, DULL, ONCE]], np.int32)
    rows = np.asarray(layer.hashed(ids, ids != 0))[0]
    return model, [np.asarray(weight)[rows] for weight in layer.weights[:2]]


def test_the_start_is_the_log_ratio_of_texts_that_hold_an_ngram() -> None:
    model, (attention, values) = started([1, 1, 0, 0], min_count=2, start_attention=0.5)
    # "good": 2 of the 2 positive texts, 0 of the 2 negative ones; "film": 2 and 1; the others stand in one text alone.
    expected = np.log([3 / 1, 3 / 2, 1, 1])
    np.testing.assert_allclose(values[:, 0], expected, atol=1e-6)
    np.testing.assert_allclose(attention, [0.5 * expected[0], 0.5 * expected[1], UNSEEN, UNSEEN], atol=1e-6)
    logits = np.asarray(model(np.array([[FILM, 0]]))["logits"])[0]
    assert logits[1] - logits[0] == pytest.approx(10 * np.log(3 / 2), abs=1e-5)


def test_with_more_labels_each_is_one_against_the_rest() -> None:
    model, (attention, values) = started([2, 2, 1, 0], min_count=1)
    np.testing.assert_allclose(values[2], np.log([1 / 3 / (2 / 5), 2 / 3 / (1 / 5), 1 / 4 / (2 / 4)]), atol=1e-6)
    np.testing.assert_allclose(attention[2], 0.3 * np.log(10 / 3), atol=1e-6)
    head = model.get_layer(HEAD)
    np.testing.assert_allclose(np.asarray(head.bias), np.log([0.25, 0.25, 0.5]), atol=1e-6)
    assert not head.trainable


NGRAMS = TrainConfig(
    name="ngrams",
    seed=3,
    batch_size=16,
    data=TINY.data,
    ngrams=NgramsConfig(),
    model={
        "encoder": "none",
        "mechanism": "ngram_attention",
        "attention": {"longest": 2, "buckets": 1 << 12, "dropout": 0.5},
    },
    phases=(PhaseConfig(epochs=3, learning_rate=0.3, patience=3),),
)


@pytest.fixture(scope="module")
def corpus(imdb_folder: Path) -> Corpus:
    return load_imdb(imdb_folder)


@pytest.mark.parametrize("batches_before_the_end", [None, 8])
def test_it_learns_and_a_killed_run_ends_where_the_unbroken_one_did(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batches_before_the_end: int | None
) -> None:
    monkeypatch.setattr("training.fit.CHECKPOINT_SECONDS", 0.0)  # after every batch
    out, work = tmp_path / "ngrams", tmp_path / "work"

    class Killed(Exception):
        pass

    class Killer(Silent):
        def advance(self, what: str, done: int, total: int, figures: str = "") -> None:
            super().advance(what, done, total, figures)
            if len(self.steps) == batches_before_the_end:
                raise Killed

    if batches_before_the_end:
        with pytest.raises(Killed):
            train(NGRAMS, corpus, out, work=work, resume=False, watcher=Killer())
    card = train(NGRAMS, corpus, out, work=work, resume=batches_before_the_end is not None, watcher=Silent())
    assert card.without_onnx is None
    assert card.metrics["test"]["accuracy"] >= 0.9
    bundle = load_bundle(out)
    layer = bundle.model.get_layer("attention")
    attention, values = (np.asarray(weight) for weight in layer.weights[:2])
    assert (attention == UNSEEN).sum() > 1 << 11
    assert (values[attention == UNSEEN] == 0).all()
    losses = [entry["validation_loss"] for entry in card.training["history"]]
    assert losses == pytest.approx(LOSSES.setdefault("", losses), abs=1e-5)


LOSSES: dict[str, list[float]] = {}  # of the unbroken run, which comes first
