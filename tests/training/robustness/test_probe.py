import json
import sys
from pathlib import Path

import numpy as np
import pytest

from models.bundle.store import load_bundle, read_card
from models.calibration import probabilities
from tests.tiny_bundle import SENTENCES, build_tiny_bundle
from training import DataError
from training.__main__ import main
from training.robustness.scorer import load_scorer, positive_label

ROWS = "\n".join(json.dumps({"label": i % 2, "text": text}) for i, text in enumerate(SENTENCES))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_bundle(tmp_path_factory.mktemp("bundles"))


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["training", "probe", *map(str, arguments)])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_scores_are_the_calibrated_probabilities_of_the_positive_label(bundle: Path) -> None:
    _, label, score = load_scorer(bundle)
    assert label == "positive"
    loaded = load_bundle(bundle)
    for text, received in zip(SENTENCES, score(SENTENCES), strict=True):
        logits = np.asarray(loaded.model(loaded.tokenizer.encode(text, 64).ids[None])["logits"])
        assert received == pytest.approx(probabilities(logits, loaded.card.temperature)[0, 1], abs=1e-6)
    _, _, other = load_scorer(bundle, "negative")
    np.testing.assert_allclose(other(SENTENCES), 1 - score(SENTENCES))


@pytest.mark.parametrize(
    ("labels", "positive", "expected"),
    [
        (("negative", "positive"), None, 1),
        (("Pos", "neg"), None, 0),
        (("0", "1"), None, 1),
        (("ham", "spam"), "ham", 0),
        (("ham", "spam"), None, "--positive spam"),
        (("ham", "spam"), "Spam", r"expected a label 'Spam'. Received \['ham', 'spam'\]"),
        (("positive", "1"), None, "expected one label named"),
        (("a", "b", "positive"), None, "expected two labels"),
    ],
)
def test_the_positive_label(bundle: Path, labels: tuple[str, ...], positive: str | None, expected: int | str) -> None:
    card = read_card(bundle).model_copy(update={"labels": labels})
    if isinstance(expected, int):
        assert positive_label(card, positive) == expected
        return
    with pytest.raises(DataError, match=expected):
        positive_label(card, positive)


def test_figures_are_printed_written_and_saved_in_the_card(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    before = read_card(bundle)
    assert before.robustness == {}
    (tmp_path / "rows.jsonl").write_text(ROWS)
    arguments = (bundle, "--sentences", tmp_path / "rows.jsonl", "--json", tmp_path / "figures.json", "--save")
    assert run(monkeypatch, *arguments) == 0
    shown = capsys.readouterr().out
    card = read_card(bundle)
    assert f"default {card.version}" in shown
    assert "rows.jsonl, accuracy" in shown
    assert card.version != before.version
    assert card.robustness["sentences"]["rows.jsonl"]["texts"] == len(SENTENCES)
    changed = {"version", "robustness"}
    assert card.model_dump(exclude=changed) == before.model_dump(exclude=changed)
    [written] = json.loads((tmp_path / "figures.json").read_text())
    assert written == {"bundle": "default", "version": card.version, **card.robustness}
    load_bundle(bundle)


def test_refusals_are_one_line(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert run(monkeypatch, bundle, "--positive", "good") == 2
    assert "error: default: expected a label 'good'. Received ['negative', 'positive']." in capsys.readouterr().err
