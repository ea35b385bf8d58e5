"""The comparison of mechanisms, from texts to the table, on a corpus that takes seconds."""

import tomllib
from pathlib import Path

import pytest

from benchmarks.marked_page import fill
from benchmarks.records import Records
from benchmarks.zoo import page, pictures
from benchmarks.zoo.rows import BASELINE, CONFIGS, ROWS, config_file
from benchmarks.zoo.runs import Outcome, Run, train_all
from benchmarks.zoo.serving import serve_row
from models.bundle.store import load_bundle
from models.config import Mechanism
from tests.training.conftest import write_excluded, write_imdb
from training.config import read_config
from training.data.imdb import load_imdb_test

NOT_COMPARED = {"default", "taught", "quick", "quick_bilstm", "ngram", "small"}
READS_NO_STATES = {"ngram_attention"}  # so it is not compared over those of the baseline
RUNS = [Run(BASELINE, 1), Run("scaled_dot_product", 1)]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_excluded(write_imdb(tmp_path_factory.mktemp("zoo")))


@pytest.fixture(scope="module")
def compared(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Outcome]]:
    out = tmp_path_factory.mktemp("compared")
    return out, list(train_all(RUNS, data, out, workers=1, epochs=1))


def test_there_is_a_row_for_every_mechanism_and_configuration() -> None:
    assert sorted(ROWS) == sorted(file.stem for file in CONFIGS.glob("*.toml") if file.stem not in NOT_COMPARED)
    assert {read_config(config_file(row)).model["mechanism"] for row in ROWS} == set(
        Mechanism.__args__
    ) - READS_NO_STATES


@pytest.mark.parametrize("row", [row for row in ROWS if row != BASELINE])
def test_a_row_changes_the_model_of_the_baseline_alone(row: str) -> None:
    values = tomllib.loads(config_file(row).read_text())
    assert set(values) == {"base", "name", "model"}
    assert values["base"] == config_file(BASELINE).name
    of_all_rows = {"embedding_dim", "token_dropout", "encoder", "encoder_units", "kernel_size", "pooling", "dropout"}
    assert not of_all_rows & values["model"].keys()


def test_every_run_ends_with_its_figures(compared: tuple[Path, list[Outcome]]) -> None:
    out, outcomes = compared
    assert {outcome.run for outcome in outcomes} == set(RUNS)
    for run in RUNS:
        bundle = load_bundle(out / "bundles" / run.name)
        assert bundle.card.data["excluded"]["train"] == 733
        assert "excluded" not in bundle.tokenizer.words
    for outcome in outcomes:
        assert outcome.failure is None
        assert outcome.figures is not None
        assert (
            outcome.figures["accuracy"]
            == load_bundle(out / "bundles" / outcome.run.name).card.metrics["validation"]["accuracy"]
        )
        assert 0 < outcome.figures["entropy"] <= 1 + 1e-6
    by_row = {outcome.run.row: outcome.figures for outcome in outcomes}
    assert by_row[BASELINE]["entropy"] == pytest.approx(1, abs=1e-5)
    assert by_row[BASELINE]["parameters_of_attention"] == 0
    assert by_row["scaled_dot_product"]["parameters_of_attention"] == 2 * 64 * 16


def test_a_finished_run_is_not_trained_again_and_another_one_is(
    compared: tuple[Path, list[Outcome]], data: Path
) -> None:
    out, outcomes = compared
    before = {file: file.stat().st_mtime_ns for file in (out / "bundles").rglob("*")}
    again = list(train_all(RUNS, data, out, workers=1, epochs=1))
    assert sorted(again) == sorted(outcomes)
    assert {file: file.stat().st_mtime_ns for file in (out / "bundles").rglob("*")} == before
    subject = {"config": 1}
    records = Records(out / "records")
    records.write("x", subject, {"accuracy": 0.5})
    assert records.read("x", subject) == {"accuracy": 0.5}
    assert records.read("x", {"config": 2}) is None


def test_a_run_that_fails_does_not_take_the_others_with_it(data: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "bundles" / RUNS[0].name
    blocked.mkdir(parents=True)
    (blocked / "letter.txt").write_text("not a bundle")
    outcomes = {outcome.run: outcome for outcome in train_all(RUNS, data, tmp_path, workers=1, epochs=1)}
    assert outcomes[RUNS[0]].figures is None
    assert "a bundle is written to a new" in str(outcomes[RUNS[0]].failure)
    assert outcomes[RUNS[1]].figures is not None


def test_a_row_is_served_with_weights_that_sum_to_1(compared: tuple[Path, list[Outcome]], data: Path) -> None:
    out, _ = compared
    texts = load_imdb_test(data).texts[:20]
    figures = serve_row(out / "bundles" / "scaled_dot_product-1", texts)
    assert figures["largest_error_of_a_sum"] < 2e-6
    assert figures["reviews_a_second"] > 1


def test_the_page_gets_its_parts_and_keeps_the_rest(compared: tuple[Path, list[Outcome]], tmp_path: Path) -> None:
    _, outcomes = compared
    figures = {outcome.run.row: [outcome.figures] for outcome in outcomes if outcome.figures}
    served = {BASELINE: {"reviews_a_second": 123.0, "largest_error_of_a_sum": 0.0}}
    table = page.table(figures, served)
    assert f"[`{BASELINE}`]" in table
    assert "| 123 |" in table
    assert "not served" in table
    file = tmp_path / "page.md"
    file.write_text("# Title\n<!-- table -->\nold\n<!-- end of table -->\nkept\n")
    fill(file, {"table": table})
    assert file.read_text() == f"# Title\n<!-- table -->\n{table}\n<!-- end of table -->\nkept\n"
    with pytest.raises(ValueError, match="once each"):
        fill(file, {"trust": page.trust(figures)})


def test_a_review_is_drawn_through_every_mechanism(
    compared: tuple[Path, list[Outcome]], data: Path, tmp_path: Path
) -> None:
    out, _ = compared
    texts = load_imdb_test(data)
    bundles = {run.row: load_bundle(out / "bundles" / run.name) for run in RUNS}
    chosen = pictures.choose_reviews(bundles[BASELINE], texts)
    assert len(chosen) == 3
    text = texts.texts[chosen[0]]
    seen = [pictures.see(bundle, row, text) for row, bundle in bundles.items()]
    assert all(one.weights.sum() == pytest.approx(1, abs=1e-5) for one in seen)
    pictures.draw(bundles[BASELINE], text, "positive", seen, tmp_path / "review.png")
    assert (tmp_path / "review.png").read_bytes().startswith(b"\x89PNG")
