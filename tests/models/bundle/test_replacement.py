import os
from pathlib import Path

import pytest

import models.bundle.replacement
from models.bundle.replacement import replace_folder


def folder(path: Path, **contents: str) -> Path:
    path.mkdir(parents=True)
    for name, content in contents.items():
        (path / name).write_text(content)
    return path


def contents(path: Path) -> dict[str, str]:
    return {file.name: file.read_text() for file in path.iterdir()}


@pytest.fixture(params=[True, False], ids=["exchange", "two-renames"])
def exchanging(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run with and without the system call that exchanges two folders."""
    if not request.param:
        monkeypatch.setattr(models.bundle.replacement.sys, "platform", "plan9")
    return bool(request.param)


def test_a_new_place(exchanging: bool, tmp_path: Path) -> None:
    replace_folder(folder(tmp_path / "new", a="1"), tmp_path / "place")
    assert contents(tmp_path / "place") == {"a": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


@pytest.mark.parametrize("old", [{}, {"a": "0", "b": "0"}], ids=["empty", "full"])
def test_a_place_that_is_taken(exchanging: bool, old: dict[str, str], tmp_path: Path) -> None:
    folder(tmp_path / "place", **old)
    replace_folder(folder(tmp_path / "new", a="1"), tmp_path / "place")
    assert contents(tmp_path / "place") == {"a": "1"}
    assert [path.name for path in tmp_path.iterdir()] == ["place"]


def test_folders_within_are_moved_too(exchanging: bool, tmp_path: Path) -> None:
    folder(tmp_path / "new" / "deep" / "deeper", a="1")
    folder(tmp_path / "place" / "deep", b="0")
    replace_folder(tmp_path / "new", tmp_path / "place")
    assert contents(tmp_path / "place" / "deep" / "deeper") == {"a": "1"}


def test_an_exchange_leaves_no_moment_without_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder(tmp_path / "place", a="0")
    monkeypatch.setattr(os, "rename", lambda *_: pytest.fail("a rename would leave a moment without the place"))
    replace_folder(folder(tmp_path / "new", a="1"), tmp_path / "place")
    assert contents(tmp_path / "place") == {"a": "1"}


def test_an_open_file_of_the_old_folder_stays_readable(exchanging: bool, tmp_path: Path) -> None:
    folder(tmp_path / "place", a="0")
    with (tmp_path / "place" / "a").open() as stream:
        replace_folder(folder(tmp_path / "new", a="1"), tmp_path / "place")
        assert stream.read() == "0"


def test_everything_is_on_disk_before_a_name_points_to_it(
    exchanging: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = folder(tmp_path / "new" / "deep", a="1").parent
    place = folder(tmp_path / "place", a="0")
    events: list[object] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        events.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    expected = {path.stat().st_ino for path in (new, new / "deep", new / "deep" / "a")}
    monkeypatch.setattr(os, "fsync", record)
    monkeypatch.setattr(models.bundle.replacement.shutil, "rmtree", lambda _: events.append("moved"))
    replace_folder(new, place)
    moved = events.index("moved")
    assert expected <= set(events[:moved])
    assert events[-1] == tmp_path.stat().st_ino


def test_an_error_of_the_system_is_raised_and_the_old_folder_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = folder(tmp_path / "place", a="0")
    new = folder(tmp_path / "new", a="1")
    monkeypatch.setattr(models.bundle.replacement, "_RENAME_EXCHANGE", 3)  # exchange and never replace: a contradiction
    monkeypatch.setattr(models.bundle.replacement.errno, "EINVAL", -1)
    with pytest.raises(OSError, match="Invalid argument"):
        replace_folder(new, place)
    assert contents(place) == {"a": "0"}
