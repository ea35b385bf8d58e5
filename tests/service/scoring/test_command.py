"""`python -m service score`, as it is typed."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from tests.service.running import ROOT
from tests.service.scoring.conftest import Score
from tests.service.scoring.test_run import write
from tests.service.test_cli import heed

FULL = Path("/dev/full")
PAGE = (ROOT / "docs" / "scoring.md").read_text(encoding="utf-8")


def test_the_example_of_the_page_is_true(tmp_path: Path) -> None:
    before, after = re.findall(r"^```csv\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "reviews.csv").write_text(before)
    place = tmp_path / "scored.csv"
    done = heed(ROOT / "models" / "saved", "score", str(tmp_path / "reviews.csv"), "-o", str(place))
    assert done.returncode == 0, done.stderr
    shown, written = (list(csv.DictReader(io.StringIO(text))) for text in (after, place.read_text()))
    assert len(written) == len(shown)
    for row, expected in zip(written, shown, strict=True):
        assert list(row) == list(expected)
        for name, value in expected.items():
            near = name.startswith(("probability", "score")) and value
            assert (float(row[name]) if near else row[name]) == (
                pytest.approx(float(value), abs=2e-4) if near else value
            )
    assert re.search(rb"4 rows, 1 error, see the column; \d+\.\d s, [\d,]+ rows/s: ", done.stderr)


def test_every_added_column_is_on_the_page(score_file: Score, tmp_path: Path) -> None:
    source = write(tmp_path / "in.csv")
    score_file(source, tmp_path / "out.jsonl", tokens=True, explain=True)
    row = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    told = re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE)
    added = [name for name in row if name not in ("id", "text", "by", "score_positive")]
    assert told == ["score_LABEL" if name == "score_negative" else name for name in added]


def test_streams(models_dir: Path) -> None:
    done = heed(models_dir, "score", "-", "-o", "-", stdin=b'{"text": "A dull film."}\n{"text": 1}\n')
    assert done.returncode == 0, done.stderr
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["label"] in ("negative", "positive")
    assert "the number 1" in second["error"]


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full, which only Linux has")
def test_an_error_on_standard_output_does_not_suggest_resuming(models_dir: Path) -> None:
    with FULL.open("wb") as full:
        done = heed(models_dir, "score", "-", "-o", "-", stdin=b'{"text": "A dull film."}\n', stdout=full)
    assert done.returncode == 2
    assert b"No space left" in done.stderr
    assert b"--resume" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["in.csv", "-o", "out.xlsx"], "out.xlsx"),
        (["in.csv", "-o", "out.csv", "--resume", "--force"], "--resume or --force"),
        (["in.csv", "-o", "out.csv", "--model", "nope"], "'default', 'stars'"),
        (["-", "-o", "out.csv"], "standard input is read"),
    ],
    ids=lambda value: " ".join(value)[-20:],
)
def test_a_mistake_gives_a_one_line_error(
    models_dir: Path, tmp_path: Path, arguments: list[str], expected: str
) -> None:
    write(tmp_path / "in.csv")
    placed = [str(tmp_path / each) if each.startswith(("in.", "out.")) else each for each in arguments]
    done = heed(models_dir, "score", *placed)
    assert done.returncode == 2
    assert expected in done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_wrong_column_and_an_existing_output_are_told_before_a_model_is_loaded(tmp_path: Path) -> None:
    """There is no model at all."""
    source, place = write(tmp_path / "in.csv"), tmp_path / "out.csv"
    (tmp_path / "there.csv").touch()
    for arguments, expected in (
        (["-o", str(place), "--column", "TEXT"], b"Nearly the same is 'text': --column text"),
        (["-o", str(tmp_path / "there.csv")], b"already exists"),
        (["-o", str(tmp_path / "out.txt")], b"an output that holds columns"),
        (["-o", str(place)], b"Expected a folder of bundles"),
    ):
        done = heed(tmp_path / "none", "score", str(source), *arguments)
        assert done.returncode == 2
        assert expected in done.stderr


def test_what_swallows_rows_is_told_and_how_the_file_is_spelled_may_be_given(models_dir: Path, tmp_path: Path) -> None:
    source, place = tmp_path / "in.tsv", tmp_path / "out[1].csv"
    source.write_bytes('text\tid\n"great d\xe9but\t1\ndull\t2\nends"\t3\n'.encode("latin-1"))
    command = ("score", str(source), "-o", str(place), "--encoding", "latin-1")
    done = heed(models_dir, *command)
    assert b"warning: " in done.stderr
    assert b"a quote at line 2 opens a field that goes on over the following lines, to line 4" in done.stderr
    done = heed(models_dir, *command, "--no-quotes", "--delimiter", "tab", "--force")
    assert done.returncode == 0, done.stderr
    assert b"warning" not in done.stderr
    assert b"out[1].csv" in done.stderr
    assert [row["text"] for row in csv.DictReader(io.StringIO(place.read_text()))] == ['"great début', "dull", 'ends"']
