from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.bundle.store import load_bundle
from tests.training.tiny_run import RecordedProgress
from training import ConfigError
from training.auto import choose
from training.data.corpus import Corpus, LabelledTexts
from training.data.imdb import load_imdb
from training.run import train


def corpus(text: str, *, texts: int = 40, rare: int = 20) -> Corpus:
    """Return texts that differ in one word, `rare` of them of the second label."""
    labels = np.array([place < rare for place in range(texts)], np.int32)
    train_ = LabelledTexts(tuple(f"{text} w{place % 7}" for place in range(texts)), labels)
    return Corpus("made up", ("common", "rare"), train_, train_.take(np.arange(1)))


SHORT, LONG = "a short text", "quite a long text " * 20


@pytest.mark.parametrize(
    ("data", "longest", "min_count", "scale", "rates"),
    [
        (corpus(SHORT), 2, 2, 3.0, (1.0, 0.15)),
        (corpus(SHORT, texts=10_002), 2, 2, 3.0, (1.0, 0.15)),
        (corpus("很 好 吃"), 3, 3, 3.0, (1.0, 0.15)),
        (corpus(LONG), 2, 3, 10.0, (1.0, 0.3)),
        (corpus("好 吃 " * 60), 3, 3, 10.0, (1.0, 0.3)),
        (corpus(LONG, texts=10_002), 3, 3, 10.0, (0.1, 0.5)),
    ],
)
def test_the_recipe_follows_the_rules_and_says_so(
    data: Corpus, longest: int, min_count: int, scale: float, rates: tuple[float, float]
) -> None:
    config, why = choose(data)
    attention = config.model["attention"]
    assert (attention["longest"], attention["scale"]) == (longest, scale)
    assert config.ngrams
    assert (config.ngrams.min_count, config.ngrams.attention_rate) == (min_count, rates[0])
    assert config.phases[0].learning_rate == rates[1]
    assert f"1 to {longest}" in why[1]


@pytest.mark.parametrize(("rare", "balanced"), [(3, True), (4, False)])
def test_labels_weigh_alike_where_one_is_rare(rare: int, balanced: bool) -> None:
    config, why = choose(corpus(SHORT, rare=rare))
    assert config.class_weight == ("balanced" if balanced else None)
    assert ("labels weigh alike" in why[2]) is balanced


@pytest.mark.parametrize(("texts", "buckets"), [(1, 2), (40, 128)])
def test_there_are_four_buckets_for_each_ngram(texts: int, buckets: int) -> None:
    # "a", "short", "text", w0 to w6; "a short", "short text", "text w0" to "text w6" stand in at least two of 40 texts
    config, _ = choose(corpus(SHORT, texts=texts))
    assert config.model["attention"]["buckets"] == buckets


@pytest.mark.parametrize(("texts", "share"), [(40, 0.1), (2_010, 0.1), (4_000, 0.0503), (20_000, 0.02)])
def test_validation_has_about_200_texts(texts: int, share: float) -> None:
    config, _ = choose(corpus(SHORT, texts=texts))
    assert config.data.validation_share == share


def test_validation_is_a_fifth_where_it_measures_too() -> None:
    config, _ = choose(replace(corpus(SHORT), test=None))
    assert config.data.validation_share == 0.2


def test_the_recipe_may_be_overridden() -> None:
    config, _ = choose(corpus(SHORT), ["seed=7", "phases.0.epochs=1", "model.attention.longest=1"])
    assert (config.seed, config.phases[0].epochs, config.model["attention"]["longest"]) == (7, 1, 1)
    with pytest.raises(ConfigError, match="auto with --set sede=7: sede"):
        choose(corpus(SHORT), ["sede=7"])


def test_it_trains_and_the_card_records_the_recipe(imdb_folder: Path, tmp_path: Path) -> None:
    data = load_imdb(imdb_folder)
    config, _ = choose(data, ["data.fewest_validation=0"])
    train(config, data, tmp_path / "b", work=tmp_path / "w", resume=False, progress=RecordedProgress())
    card = load_bundle(tmp_path / "b").card
    assert card.metrics["validation"]["accuracy"] >= 0.8
    assert card.training["config"] == config.model_dump(mode="json")
