import csv
import json
from pathlib import Path

import numpy as np
import pytest

from models.bundle.store import load_bundle
from tests.training.test_ngrams import NGRAMS
from tests.training.tiny_run import TINY, RecordedProgress
from training import ConfigError, DataError
from training.config import DataConfig, TrainConfig
from training.data.imdb import load_imdb
from training.data.load import load_table
from training.fit import label_weights
from training.folds import assign_folds
from training.measuring.evaluate import evaluate
from training.run import train

CROSSED = DataConfig(max_words=100, max_tokens=32, fewest_validation=200, folds=2)


def table(path: Path, counts: dict[str, int]) -> Path:
    """Write a table with as many rows of each label, which a word gives away."""
    with path.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(["text", "label"])
        for label, count in counts.items():
            rows.writerows([f"It was {label}ish number {place}", label] for place in range(count))
    return path


@pytest.mark.parametrize(
    ("counts", "config"),
    [
        ({"good": 5, "bad": 5}, TINY),
        ({"good": 25, "bad": 21, "so-so": 4}, NGRAMS),
    ],
)
def test_a_small_table_is_cross_validated_and_trained_on_whole(
    tmp_path: Path, counts: dict[str, int], config: TrainConfig
) -> None:
    corpus = load_table(table(tmp_path / "t.csv", counts), text_column="text", label_column="label")
    config = config.model_copy(update={"data": CROSSED})
    progress = RecordedProgress()
    train(config, corpus, tmp_path / "b", work=tmp_path / "w", resume=False, progress=progress)
    card = load_bundle(tmp_path / "b").card
    assert card.training["cross_validated"]
    assert sum(card.data["train"].values()) == len(corpus.train) == card.metrics["validation"]["texts"]
    assert card.metrics["test"]["texts"] == len(corpus.test)
    last = [entry for entry in card.training["history"] if entry["phase"] == len(config.phases)]
    losses = [entry["validation_loss"] for entry in last]
    assert losses[-1] == min(losses)
    assert f"cross-validation with 2 folds: best after epoch {len(last)} of 3" in "".join(progress.lines)
    json.dumps(card.model_dump(mode="json"), allow_nan=False)


def test_folds_measure_where_there_is_no_test_part(imdb_folder: Path, tmp_path: Path) -> None:
    corpus = load_imdb(imdb_folder)
    config = NGRAMS.model_copy(update={"data": CROSSED, "phases": NGRAMS.phases[:1]})
    card = train(config, corpus, tmp_path / "b", work=tmp_path / "w", resume=False, progress=RecordedProgress())
    assert card.metrics["validation"]["texts"] == len(corpus.train)
    assert card.metrics["baselines"]["bag_of_words"]["accuracy"] >= 0.9
    assert card.metrics["baselines"]["majority"]["accuracy"] == 0.5
    assert card.faithfulness["part"] == "train"
    with pytest.raises(DataError, match="It was cross-validated"):
        evaluate(tmp_path / "b", corpus)


def test_what_is_too_few_to_divide_is_named_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot be split .*: 'so-so' 1, 'good' 20, 'bad' 25"):
        load_table(
            table(tmp_path / "t.csv", {"good": 20, "bad": 25, "so-so": 1}), text_column="text", label_column="label"
        )


@pytest.mark.parametrize("counts", [(50, 30, 4, 1), (5, 2), (1, 1)])
def test_folds_spread_every_label_evenly(counts: tuple[int, ...]) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    folds = assign_folds(labels, 5, seed=1)
    assert set(folds) == set(range(min(5, len(labels))))
    for label in range(len(counts)):
        in_folds = np.bincount(folds[labels == label], minlength=folds.max() + 1)
        assert in_folds.max() - in_folds.min() <= 1
    assert (folds == assign_folds(labels, 5, seed=1)).all()
    assert len(labels) < 10 or (folds != assign_folds(labels, 5, seed=2)).any()


def test_label_weights() -> None:
    labels, names = np.array([0, 0, 0, 1]), ("ham", "spam")
    assert label_weights(TINY, labels, names) is None
    balanced = label_weights(TINY.model_copy(update={"class_weight": "balanced"}), labels, names)
    np.testing.assert_allclose(balanced, [4 / 6, 2.0])  # type: ignore[arg-type]
    table = label_weights(TINY.model_copy(update={"class_weight": {"spam": 5.0}}), labels, names)
    np.testing.assert_allclose(table, [0.5, 2.5])  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"labels of the data, \['ham', 'spam'\]. Received \['eggs'\]"):
        label_weights(TINY.model_copy(update={"class_weight": {"eggs": 5.0}}), labels, names)


def test_weights_and_macro_f1_keep_a_rare_label(tmp_path: Path) -> None:
    """One label in twenty, of which a word tells only that it is four times as likely."""
    with (tmp_path / "t.csv").open("w") as stream:
        stream.write("text,label\n")
        for place in range(400):
            rare = place % 20 == 0
            hint = "maybe" if (place % 5 < 4 if rare else place % 5 == 1) else "plainly"
            stream.write(f"{hint} number {place},{'rare' if rare else 'common'}\n")
    corpus = load_table(tmp_path / "t.csv", text_column="text", label_column="label")
    scores = []
    for weights in (None, "balanced"):
        changed = NGRAMS.model_copy(update={"stop_on": "macro_f1", "class_weight": weights})
        card = train(changed, corpus, tmp_path / "b", work=tmp_path / "w", resume=False, progress=RecordedProgress())
        scores.append(card.metrics["test"]["f1"])
        assert all("validation_macro_f1" in entry for entry in card.training["history"])
    assert scores[0] == 0
    assert scores[1] > 0.2
