import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import training.fit
from models.bundle.looks import LOOKS_FILE
from models.bundle.store import Bundle, load_bundle
from tests.models.bundle.forged_bundle import seal
from tests.training.tiny_run import TINY, RecordedProgress
from training import ResumeError
from training.data.corpus import Corpus, LabelledTexts, fingerprint_of
from training.data.imdb import load_imdb, load_imdb_test
from training.measuring.evaluate import evaluate
from training.run import train


@pytest.fixture(scope="module")
def corpus(imdb_folder: Path) -> Corpus:
    return load_imdb(imdb_folder)


@pytest.fixture(scope="module")
def trained(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, RecordedProgress]:
    root = tmp_path_factory.mktemp("trained")
    progress = RecordedProgress()
    train(TINY, corpus, root / "tiny", work=root / "work", resume=False, progress=progress)
    assert not (root / "work").exists()
    return root / "tiny", progress


def logits(bundle: Bundle) -> np.ndarray:
    ids = bundle.tokenizer.encode("A wonderful film with a dull plot and superb actors.", 32).ids
    return np.asarray(bundle.model(ids[None])["logits"])


def test_a_run_learns_and_its_card_has_the_figures(trained: tuple[Path, RecordedProgress], corpus: Corpus) -> None:
    path, progress = trained
    card = load_bundle(path).card
    assert card.labels == ("negative", "positive")
    assert card.metrics["validation"]["accuracy"] >= 0.9
    assert card.metrics["validation"]["texts"] == 24
    assert {name: figures["support"] for name, figures in card.metrics["validation"]["per_label"].items()} == {
        "negative": 12,
        "positive": 12,
    }
    assert np.sum(card.metrics["validation"]["confusion"]) == 24
    assert card.metrics["baselines"]["majority"]["accuracy"] == 0.5
    assert card.metrics["baselines"]["bag_of_words"]["accuracy"] >= 0.9
    assert card.data["fingerprint"] == corpus.fingerprint()
    assert sum(card.data["train"].values()) + sum(card.data["validation"].values()) <= 120
    assert set(card.faithfulness["rankings"]) == {"attention", "contributions", "random"}
    assert set(card.faithfulness["above_chance"]) == {"attention", "contributions"}
    assert (card.faithfulness["part"], card.faithfulness["texts"]) == ("validation", 24)
    assert card.measured_on == "validation"
    assert "test" not in str((card.metrics, card.data, card.warnings))  # nothing here is of the test part
    assert card.training["config"] == TINY.model_dump(mode="json")
    assert [entry["phase"] for entry in card.training["history"]] == [1, 1, 2, 2, 2]
    assert any(task == "word vectors" for task, _, _ in progress.steps)
    assert len([line for line in progress.lines if line.startswith("phase ")]) == 5


def test_evaluate_gives_the_figures_of_the_card(trained: tuple[Path, RecordedProgress], corpus: Corpus) -> None:
    evaluation = evaluate(trained[0], corpus)
    assert evaluation.same_data
    assert evaluation.part == "validation"
    measured, of_card = evaluation.metrics, dict(evaluation.card.metrics["validation"])
    for nested in ("per_label", "confusion"):
        assert measured.pop(nested) == of_card.pop(nested)
    assert measured == pytest.approx(of_card, abs=1e-5)
    assert evaluation.baselines == evaluation.card.metrics["baselines"]


def test_a_look_at_the_test_part_is_logged_and_tells_what_was_seen_before(
    trained: tuple[Path, RecordedProgress], corpus: Corpus, imdb_folder: Path, tmp_path: Path
) -> None:
    path = shutil.copytree(trained[0], tmp_path / "tiny")
    test = load_imdb_test(imdb_folder)
    known = f" {corpus.train.texts[0].upper()}"
    test = LabelledTexts((*test.texts, known), np.append(test.labels, corpus.train.labels[0]))
    evaluation = evaluate(path, corpus, test=test)
    assert evaluation.same_data
    assert (evaluation.part, evaluation.metrics["texts"], evaluation.metrics["texts_in_train"]) == ("test", 61, 1)
    right = [row[place] for place, row in enumerate(evaluation.metrics["confusion"])]
    assert evaluation.metrics["accuracy_of_others"] in [(sum(right) - one) / 60 for one in (0, 1)]
    assert evaluation.baselines == {}
    assert [evaluation.log_look(), evaluation.log_look()] == [1, 2]
    [look, again] = map(json.loads, (path / LOOKS_FILE).read_text().splitlines())
    assert again["version"] == look["version"] == evaluation.card.version
    assert look["accuracy"] == evaluation.metrics["accuracy"]
    assert look["texts_in_train"] == 1
    assert load_bundle(path).card == evaluation.card


def test_cards_of_older_versions_are_of_the_same_data(
    trained: tuple[Path, RecordedProgress], corpus: Corpus, imdb_folder: Path, tmp_path: Path
) -> None:
    """They cover the test part, and were split by the seed of the run."""
    test = load_imdb_test(imdb_folder)
    path = shutil.copytree(trained[0], tmp_path / "tiny")

    def older(card: dict[str, Any]) -> None:
        card["data"]["fingerprint"] = fingerprint_of(corpus.train, test)
        card["training"]["config"]["seed"] = card["training"]["config"]["data"].pop("split_seed")

    seal(path, older)
    assert evaluate(path, corpus, test=test).same_data
    one, other = (evaluate(each, corpus).metrics["nll"] for each in (path, trained[0]))
    assert one == pytest.approx(other, abs=1e-5)


def test_the_report_is_a_page_and_a_picture_whose_hashes_are_in_the_card(
    trained: tuple[Path, RecordedProgress],
) -> None:
    path, _ = trained
    assert {file.name for file in (path / "report").iterdir()} == {"report.html", "examples.png"}
    assert {"report/report.html", "report/examples.png"} < set(load_bundle(path).card.files)
    assert (path / "report" / "examples.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_learns_nothing_says_so(corpus: Corpus, tmp_path: Path) -> None:
    still = TINY.phases[0].model_copy(update={"epochs": 1, "learning_rate": 1e-9})
    config = TINY.model_copy(update={"vectors": False, "phases": (still,)})
    card = train(config, corpus, tmp_path / "tiny", work=tmp_path / "work", resume=False, progress=RecordedProgress())
    words, validation = (warning for warning in card.warnings if "random ranking" not in warning)
    assert words.startswith("The model is no better than a bag of words")
    assert validation.startswith("Validation has ")
    assert load_bundle(tmp_path / "tiny").card.warnings == card.warnings


class Killed(Exception):
    """Stands for the end of the process: nothing of a run catches it."""


@pytest.mark.parametrize("batches_before_the_end", [1, 8, 20])
def test_a_killed_run_ends_where_the_unbroken_one_did(
    trained: tuple[Path, RecordedProgress],
    corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    batches_before_the_end: int,
) -> None:
    monkeypatch.setattr(training.fit, "CHECKPOINT_SECONDS", 0.0)  # after every batch

    class Killer(RecordedProgress):
        def advance(self, task: str, done: int, total: int, figures: str = "") -> None:
            super().advance(task, done, total, figures)
            if sum(task.startswith("epoch") for task, _, _ in self.steps) > batches_before_the_end:
                raise Killed

    out, work = tmp_path / "tiny", tmp_path / "work"
    with pytest.raises(Killed):
        train(TINY, corpus, out, work=work, resume=False, progress=Killer())
    assert not out.exists()
    progress = RecordedProgress()
    train(TINY, corpus, out, work=work, resume=True, progress=progress)
    whole, resumed = load_bundle(trained[0]), load_bundle(out)
    np.testing.assert_allclose(logits(resumed), logits(whole), atol=1e-4)
    for one, other in zip(resumed.card.training["history"], whole.card.training["history"], strict=True):
        assert one == pytest.approx(other, abs=1e-4)
    assert not any(task == "word vectors" for task, _, _ in progress.steps)


def test_a_run_of_another_configuration_is_not_resumed(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Killer(RecordedProgress):
        def advance(self, task: str, done: int, total: int, figures: str = "") -> None:
            raise Killed

    with pytest.raises(Killed):
        train(TINY, corpus, tmp_path / "tiny", work=tmp_path / "work", resume=False, progress=Killer())
    other = TINY.model_copy(update={"seed": 4})
    with pytest.raises(ResumeError, match="Found another one"):
        train(other, corpus, tmp_path / "tiny", work=tmp_path / "work", resume=True, progress=RecordedProgress())
    with pytest.raises(ResumeError, match="Found none: start without --resume"):
        train(TINY, corpus, tmp_path / "tiny", work=tmp_path / "nothing", resume=True, progress=RecordedProgress())
    monkeypatch.setattr("training.run.RULES", 1)
    with pytest.raises(ResumeError, match="Found another one"):
        train(TINY, corpus, tmp_path / "tiny", work=tmp_path / "work", resume=True, progress=RecordedProgress())


def test_early_stopping_ends_a_phase_and_keeps_its_best_weights(corpus: Corpus, tmp_path: Path) -> None:
    hopeless = TINY.phases[1].model_copy(update={"epochs": 12, "learning_rate": 3.0, "patience": 2})
    config = TINY.model_copy(update={"vectors": False, "phases": (TINY.phases[0], hopeless)})
    card = train(config, corpus, tmp_path / "tiny", work=tmp_path / "work", resume=False, progress=RecordedProgress())
    losses = [entry["validation_loss"] for entry in card.training["history"] if entry["phase"] == 2]
    assert len(losses) < 12
    assert losses.index(min(losses)) == len(losses) - 1 - hopeless.patience
    # the temperature is fitted on the same texts afterwards, so it can but lower the loss of the weights that were kept
    assert card.metrics["validation"]["nll"] <= min(losses) + 1e-4


def test_a_classifier_that_xla_trains_learns_the_same(
    corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {
        **TINY.model,
        "encoder": "convolution",
        "mechanism": "local",
        "attention": {"neighbors": 2, "heads": 1},
    }
    still = dict.fromkeys(("embedding_dropout", "dropout"), 0.0)  # each way has random numbers of its own
    config = TINY.model_copy(update={"vectors": False, "model": {**small, **still}, "phases": TINY.phases[:1]})
    assert training.fit.trains_with_xla(config)
    cards = []
    for rule in (training.fit.trains_with_xla, lambda config: False):
        monkeypatch.setattr(training.fit, "trains_with_xla", rule)
        out = tmp_path / str(len(cards))
        cards.append(train(config, corpus, out, work=tmp_path / "work", resume=False, progress=RecordedProgress()))
    for one, other in zip(*(card.training["history"] for card in cards), strict=True):
        assert one == pytest.approx(other, abs=1e-3)
