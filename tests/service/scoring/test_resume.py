"""Stopped runs are resumed, or rejected if they would write something else."""

import errno
import gzip
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from models.tables.errors import TableError
from service.scoring.errors import ScoreError
from service.scoring.output import FileOutput, journal_of, partial_of
from tests.service.scoring.conftest import Score
from tests.service.scoring.test_run import ROWS, read, write

KINDS = ("csv", "jsonl.gz", "json.zst", "parquet", "parquet.gz")
ENDING = ("os.replace", "Path.unlink", "Journal.remove")
"""The steps of finishing an output, by their names in `service.scoring.output`."""


class Stopped(BaseException):
    """Simulates the end of the process."""


@contextmanager
def stopping(step: str, after: int) -> Iterator[None]:
    """Stop the run at the call of `FileOutput.step` that follows `after` calls."""
    original = getattr(FileOutput, step)
    left = after

    def stop(self: FileOutput, *arguments: Any) -> Any:
        nonlocal left
        if left == 0:
            raise Stopped
        left -= 1
        return original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileOutput, step, stop)
        yield


@contextmanager
def ending_at(step: str) -> Iterator[None]:
    """Stop the run at one of the `ENDING` steps."""

    def stop(*arguments: Any, **options: Any) -> None:
        raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(f"service.scoring.output.{step}", stop)
        yield


def test_nothing_is_written_after_a_failed_window(score_file: Score, tmp_path: Path) -> None:
    """A temporarily full disk must not leave a gap before the rows that `resume` adds."""
    source, place = write(tmp_path / "in.csv"), tmp_path / "out.csv"
    score_file(source, tmp_path / "whole.csv", window_rows=1)
    original = FileOutput.commit
    windows = count()

    def fail_once(self: FileOutput, *arguments: Any) -> None:
        if next(windows) == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        original(self, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FileOutput, "commit", fail_once)
        with pytest.raises(OSError, match="No space left"):
            score_file(source, place, window_rows=1)
    score_file(source, place, window_rows=1, resume=True)
    assert place.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def stopped_run(score_file: Score, source: Path, place: Path, *, after: int = 2, **options: Any) -> None:
    with stopping("commit", after), pytest.raises(Stopped):
        score_file(source, place, **options)
    assert partial_of(place).exists()
    assert journal_of(place).exists()


@pytest.mark.parametrize("after", KINDS)
@pytest.mark.parametrize("before", KINDS)
def test_a_resumed_run_gives_the_bytes_of_an_uninterrupted_one(
    score_file: Score, tmp_path: Path, before: str, after: str
) -> None:
    source = write(tmp_path / f"in.{before}")
    place = tmp_path / f"out.{after}"
    score_file(source, tmp_path / f"whole.{after}", tokens=True)
    for windows in (0, 2, 1):
        with stopping("commit", windows), pytest.raises(Stopped):
            score_file(source, place, tokens=True, resume=True)
        with partial_of(place).open("ab") as stream:  # written before the kill, but not in the journal
            stream.write(b"half a row")
    assert score_file(source, place, tokens=True, resume=True) == (len(ROWS), 0)
    assert place.read_bytes() == (tmp_path / f"whole.{after}").read_bytes()
    assert not partial_of(place).exists()
    assert not journal_of(place).exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", ["_record", "finish"])
def test_finishing_can_be_repeated(score_file: Score, tmp_path: Path, kind: str, step: str) -> None:
    source, place = write(tmp_path / "in.csv"), tmp_path / f"out.{kind}"
    score_file(source, tmp_path / f"whole.{kind}")
    with stopping(step, 6 if step == "_record" else 0), pytest.raises(Stopped):  # 23 rows are 6 windows of 4
        score_file(source, place)
    score_file(source, place, resume=True)
    assert place.read_bytes() == (tmp_path / f"whole.{kind}").read_bytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", ENDING)
def test_a_kill_while_finishing_loses_nothing(score_file: Score, tmp_path: Path, kind: str, step: str) -> None:
    source, place = write(tmp_path / "in.csv"), tmp_path / f"out.{kind}"
    score_file(source, tmp_path / f"whole.{kind}")
    with ending_at(step), pytest.raises(Stopped):
        score_file(source, place)
    assert score_file(source, place, resume=True) == (len(ROWS), 0)
    assert place.read_bytes() == (tmp_path / f"whole.{kind}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["in.csv", f"out.{kind}", f"whole.{kind}"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", ENDING)
def test_a_table_without_rows_finishes_after_a_kill(score_file: Score, tmp_path: Path, kind: str, step: str) -> None:
    source, place = tmp_path / "in.csv", tmp_path / f"out.{kind}"
    source.write_text("id,text\n")
    score_file(source, tmp_path / f"whole.{kind}")
    with ending_at(step), pytest.raises(Stopped):
        score_file(source, place)
    assert score_file(source, place, resume=True) == (0, 0)
    assert place.read_bytes() == (tmp_path / f"whole.{kind}").read_bytes()
    assert not journal_of(place).exists()


def test_an_unfinished_run_or_an_output_is_not_overwritten_by_accident(score_file: Score, tmp_path: Path) -> None:
    source, place = write(tmp_path / "in.csv"), tmp_path / "out.csv"
    stopped_run(score_file, source, place)
    before = partial_of(place).read_bytes(), journal_of(place).read_bytes()
    with pytest.raises(ScoreError, match=r"--resume.*--force"):
        score_file(source, place)
    assert (partial_of(place).read_bytes(), journal_of(place).read_bytes()) == before
    score_file(source, place, force=True)
    whole = place.read_bytes()
    for options in ({}, {"resume": True}):
        with pytest.raises(ScoreError, match="--force"):
            score_file(source, place, **options)
    assert not journal_of(place).exists()
    stopped_run(score_file, source, place, force=True)
    assert place.read_bytes() == whole  # until the new one is complete
    score_file(source, place, resume=True)
    assert place.read_bytes() == whole


def test_a_file_created_meanwhile_is_not_replaced(score_file: Score, tmp_path: Path) -> None:
    source, place = write(tmp_path / "in.csv"), tmp_path / "out.csv"
    stopped_run(score_file, source, place)
    place.write_text("mine")
    with pytest.raises(ScoreError, match="created after"):
        score_file(source, place, resume=True)
    assert place.read_text() == "mine"


@pytest.mark.parametrize(
    ("option", "value", "shown"),
    [
        ("tokens", True, "--tokens was False and is True"),
        ("explain", True, "--explain-columns"),
        ("prefix", "x_", "--prefix was '' and is 'x_'"),
        ("column", "by", "--column was 'text' and is 'by'"),
        ("window_rows", 8, "--window-rows was 4 and is 8"),
    ],
)
def test_changed_options_are_an_error(score_file: Score, tmp_path: Path, option: str, value: Any, shown: str) -> None:
    source, place = write(tmp_path / "in.csv"), tmp_path / "out.csv"
    stopped_run(score_file, source, place)
    with pytest.raises(ScoreError, match=shown):
        score_file(source, place, resume=True, **{option: value})
    score_file(source, place, resume=True)


def changed(kind: str, source: Path, row: int, text: str) -> None:
    write(source, [own | {"text": text} if number == row else own for number, own in enumerate(ROWS)])


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_input_is_an_error(score_file: Score, tmp_path: Path, kind: str) -> None:
    source, place = write(tmp_path / f"in.{kind}"), tmp_path / "out.csv"
    stopped_run(score_file, source, place)
    changed(kind, source, 5, "Another text.")
    with pytest.raises((ScoreError, TableError), match=r"have changed since|input was"):
        score_file(source, place, resume=True)
    write(source)
    score_file(source, place, resume=True)
    assert [row["text"] for row in read(place)] == [row["text"] for row in ROWS]


def test_rows_not_yet_read_may_change(score_file: Score, tmp_path: Path) -> None:
    source, place = write(tmp_path / "in.csv"), tmp_path / "out.csv"
    stopped_run(score_file, source, place)
    changed("csv", source, 20, "Another text.")
    score_file(source, place, resume=True)
    score_file(source, tmp_path / "whole.csv")
    assert place.read_bytes() == (tmp_path / "whole.csv").read_bytes()


def test_a_shortened_input_is_an_error(score_file: Score, tmp_path: Path) -> None:
    source, place = write(tmp_path / "in.csv"), tmp_path / "out.csv"
    stopped_run(score_file, source, place)
    write(source, ROWS[:6])
    with pytest.raises(TableError, match="have changed since"):
        score_file(source, place, resume=True)


def test_an_output_that_lost_bytes_is_an_error(score_file: Score, tmp_path: Path) -> None:
    source, place = write(tmp_path / "in.csv"), tmp_path / "out.csv"
    stopped_run(score_file, source, place)
    partial_of(place).write_bytes(partial_of(place).read_bytes()[:10])
    with pytest.raises(ScoreError, match=r"Received 10: .*--force"):
        score_file(source, place, resume=True)
    partial_of(place).unlink()
    with pytest.raises(ScoreError, match="partial"):
        score_file(source, place, resume=True)


def test_a_partial_output_without_a_journal_is_not_overwritten(score_file: Score, tmp_path: Path) -> None:
    source, place = write(tmp_path / "in.csv"), tmp_path / "out.csv"
    stopped_run(score_file, source, place)
    journal_of(place).unlink()
    for options in ({}, {"resume": True}):
        with pytest.raises(ScoreError, match=r"partial.*--force"):
            score_file(source, place, **options)


def test_an_unreadable_input_keeps_the_written_rows(score_file: Score, tmp_path: Path) -> None:
    source, place = tmp_path / "in.jsonl.gz", tmp_path / "out.jsonl"
    good = b"".join(json.dumps(row).encode() + b"\n" for row in ROWS)
    source.write_bytes(gzip.compress(good))
    whole = source.read_bytes()
    shutil.copy(source, tmp_path / "copy.gz")
    stopped_run(score_file, source, place)
    source.write_bytes(whole[:40])
    with pytest.raises(TableError, match="cannot be read"):
        score_file(source, place, resume=True)
    source.write_bytes(whole)
    assert score_file(source, place, resume=True) == (len(ROWS), 0)


def test_standard_output_cannot_be_resumed(score_file: Score, tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="--resume"):
        score_file(write(tmp_path / "in.csv"), "-", resume=True)
