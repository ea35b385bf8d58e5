from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from models.bundle.store import load_bundle
from models.classifier import HEAD, build_classifier
from models.config import ClassifierConfig
from models.layers import NgramAttention
from models.layers.ngram_attention import UNSEEN
from tests.training.tiny_run import TINY, RecordedProgress
from training.config import NgramsConfig, PhaseConfig, TrainConfig
from training.data.corpus import Corpus
from training.data.imdb import load_imdb
from training.ngrams import TableAdagrad, codes_of, start_at_naive_bayes
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
    ids = [np.array(text, np.int32) for text in TEXTS]
    start_at_naive_bayes(model, NgramsConfig(**config), ids, np.eye(max(labels) + 1)[labels])
    layer = model.get_layer("attention")
    each = np.array([[GOOD, FILM, DULL, ONCE]], np.int32)
    rows = np.asarray(layer.hashed(each, each != 0))[0]
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
    assert [weight.name for weight in head.trainable_weights] == ["bias"]


@pytest.mark.parametrize("sparse", [True, False])
@pytest.mark.parametrize("pull", [0.0, 0.1])
def test_adagrad_of_rows_is_adagrad_of_tables(pull: float, sparse: bool) -> None:
    """A row that a batch touches twice takes one step, and only rows that are touched are drawn back."""
    start = np.arange(10, dtype=np.float32).reshape(5, 2)
    values, attention = keras.Variable(start), keras.Variable(np.zeros(5, np.float32))
    optimizer = TableAdagrad(0.5, attention_rate=0.1, pull=pull)
    optimizer.build([values, attention])
    rows, by = np.array([3, 1, 3]), np.array([[1.0, 2.0], [0.5, -1.0], [1.0, -4.0]], np.float32)
    expected, sums = start.astype("float64"), np.full((5, 2), 1e-8)
    for _ in range(3):
        slices = [tf.IndexedSlices(by, rows, [5, 2]), tf.IndexedSlices(by[:, 0], rows, [5])]
        optimizer.apply(slices if sparse else [tf.convert_to_tensor(each) for each in slices])
        gradient = np.zeros((5, 2))
        np.add.at(gradient, rows, by)
        gradient[[1, 3]] += pull * (expected - start)[[1, 3]]
        sums += gradient**2
        expected = expected - 0.5 * gradient / np.sqrt(sums)
    np.testing.assert_allclose(np.asarray(values), expected, atol=1e-5)
    steps = 0.5 * 0.1 * (1 + 1 / np.sqrt(2) + 1 / np.sqrt(3))
    np.testing.assert_allclose(np.asarray(attention), [0, -steps, 0, -steps, 0], atol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.01, 50), st.floats(0, 1))
def test_codes_are_the_nearest_of_their_range(seed: int, spread: float, unseen: float) -> None:
    generator = np.random.default_rng(seed)
    logits, values = (
        generator.normal(0, spread, 64).astype("float32"),
        generator.normal(0, 1, (64, 2)).astype("float32"),
    )
    logits[generator.random(64) < unseen] = UNSEEN
    coded = NgramAttention(buckets=64, features=2, bits=8)
    coded.build((None, None))
    coded.set_weights(codes_of(logits, values))
    each = np.arange(64, dtype="int32")[None]
    found, seen = np.asarray(coded._logits_of(each))[0], logits > UNSEEN
    assert (found[~seen] == UNSEEN).all()
    if seen.any():
        np.testing.assert_allclose(found[seen], logits[seen], atol=np.ptp(logits[seen]) / 254 / 2 + 1e-4)
        most = np.abs(values[seen]).max()
        np.testing.assert_allclose(
            np.asarray(coded._values_of(each))[0][seen], values[seen], atol=most / 127 / 2 + 1e-6
        )


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

    class Killer(RecordedProgress):
        def advance(self, task: str, done: int, total: int, figures: str = "") -> None:
            super().advance(task, done, total, figures)
            if len(self.steps) == batches_before_the_end:
                raise Killed

    if batches_before_the_end:
        with pytest.raises(Killed):
            train(NGRAMS, corpus, out, work=work, resume=False, progress=Killer())
    card = train(NGRAMS, corpus, out, work=work, resume=batches_before_the_end is not None, progress=RecordedProgress())
    assert card.without_onnx is None
    assert card.metrics["validation"]["accuracy"] >= 0.9
    bundle = load_bundle(out)
    layer = bundle.model.get_layer("attention")
    attention, values = (np.asarray(weight) for weight in layer.weights[:2])
    assert (attention == UNSEEN).sum() > 1 << 11
    assert (values[attention == UNSEEN] == 0).all()
    losses = [entry["validation_loss"] for entry in card.training["history"]]
    assert losses == pytest.approx(LOSSES.setdefault("", losses), abs=1e-5)


LOSSES: dict[str, list[float]] = {}  # of the unbroken run, which comes first
