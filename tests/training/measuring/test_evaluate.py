from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.tiny_bundle import SENTENCES, build_tiny_bundle
from training import DataError
from training.data.corpus import Corpus, LabelledTexts
from training.measuring.evaluate import Evaluation, evaluate
from training.measuring.metrics import measure, measure_labels
from training.measuring.terminal import print_evaluations, print_warnings

LABELS = ("[red]bad", "neutral", "good")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_bundle(tmp_path_factory.mktemp("bundles"), labels=LABELS)


def corpus_of(*label_names: str) -> Corpus:
    """Two texts to learn from and a test text of each label, in the order of the names."""
    labels = np.arange(len(label_names), dtype=np.int32)
    train = LabelledTexts(SENTENCES[:2] * len(labels), np.repeat(labels, 2))
    return Corpus("own[1].csv", label_names, train, LabelledTexts(SENTENCES[: len(labels)], labels))


def shown(*evaluations: Evaluation, width: int = 120) -> str:
    console = Console(width=width)
    with console.capture() as captured:
        print_evaluations(console, evaluations)
    return captured.get()


def test_the_whole_of_the_data_is_its_test_set_and_what_is_to_be_learned_from(bundle: Path) -> None:
    corpus = corpus_of(*LABELS)
    support = [
        [figures["support"] for figures in evaluate(bundle, corpus, whole=whole).metrics["per_label"].values()]
        for whole in (False, True)
    ]
    assert support == [[1, 1, 1], [3, 3, 3]]


def test_renamed_labels_are_those_of_the_bundle(bundle: Path) -> None:
    plain = evaluate(bundle, corpus_of(*LABELS))
    renamed = evaluate(bundle, corpus_of("0", "neutral", "2"), renamed={"0": "[red]bad", "2": "good"})
    assert renamed.metrics == plain.metrics
    # two labels of the data may be one of the bundle, and not all of the bundle's need be there
    merged = evaluate(bundle, corpus_of("1", "2", "good"), renamed={"1": "[red]bad", "2": "[red]bad"})
    assert [one["support"] for one in merged.metrics["per_label"].values()] == [2, 0, 1]


def test_a_label_that_the_bundle_does_not_know_is_named_with_the_way_out(bundle: Path) -> None:
    with pytest.raises(DataError) as refused:
        evaluate(bundle, corpus_of("0", "good", "neutral"))
    assert "own[1].csv also has '0' (3 texts)." in str(refused.value)
    assert "--map LABEL=" in str(refused.value)
    with pytest.raises(DataError, match=r"Received \['1'\]"):
        evaluate(bundle, corpus_of(*LABELS), renamed={"1": "good"})


def test_tables_show_every_label_as_it_is(bundle: Path) -> None:
    one = evaluate(bundle, corpus_of(*LABELS))
    alone, beside = shown(one), shown(one, one)
    for name in LABELS:
        assert f"\n{name} " in alone
        assert f"\n{name} " in beside
    assert "Texts of a label, given  [red]bad  neutral  good\n" in alone
    assert "F1 of each label" in beside


def test_a_narrow_terminal_shows_whose_figures_they_are(bundle: Path) -> None:
    names = tuple(f"label number {number}" for number in range(6))
    metrics = measure(np.eye(6), np.arange(6)) | measure_labels(np.eye(6), np.arange(6), names)
    one = replace(evaluate(bundle, corpus_of(*LABELS)), metrics=metrics)
    for width, tables in ((100, 2), (60, 1)):  # the confusion needs 96
        assert [shown(one, width=width).count(f"\n{name} ") for name in names] == [tables] * 6


def test_warnings_are_printed_as_they_are() -> None:
    console = Console(width=200)
    with console.capture() as captured:
        print_warnings(console, ["of '[red]bad'"])
    assert captured.get() == "warning: of '[red]bad'\n"
