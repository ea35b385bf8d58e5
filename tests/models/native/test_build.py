"""Compiling the kernels, and loading them."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from models import native
from models.native import __main__ as command
from models.native import build


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, compiled: None) -> Path:
    """A copy of the sources, where nothing is compiled yet."""
    for name in build.SOURCES:
        shutil.copy(build.FOLDER / name, tmp_path)
    monkeypatch.setattr(build, "FOLDER", tmp_path)
    monkeypatch.setattr(build, "FLAGS", (*build.FLAGS, "-O0"))  # sooner done
    for module in (build, native):
        monkeypatch.setattr(module, "LIBRARY", tmp_path / build.LIBRARY.name)
    native.load.cache_clear()
    yield tmp_path
    native.load.cache_clear()


def test_what_is_compiled_is_loaded(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert native.library() is None
    native.load.cache_clear()
    command.main()
    native.load.cache_clear()
    assert native.library() is not None
    assert native.unlocked_library() is not None
    out, err = capfd.readouterr()
    assert (out, "warning" in err) == ("", False)
    assert sorted(path.name for path in folder.iterdir()) == sorted([*build.SOURCES, build.LIBRARY.name])


def test_it_is_left_aside_where_it_is_not_wanted(folder: Path) -> None:
    build.build()
    native.use(False)
    assert native.library() is native.unlocked_library() is None
    native.use(True)
    assert native.library() is not None


def test_a_library_of_other_sources_is_not_loaded(folder: Path) -> None:
    build.build()
    with (folder / "forward.c").open("a") as changed:
        changed.write("/* newer */\n")
    assert native.library() is None


def test_a_file_that_is_no_library_is_not_loaded(folder: Path) -> None:
    (folder / build.LIBRARY.name).write_bytes(b"for another machine")
    assert native.library() is None


def test_without_a_compiler_it_says_so_and_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CC", "no-such-compiler")
    command.main()
    assert "Expected a C compiler, 'no-such-compiler'" in capfd.readouterr().err
    monkeypatch.setenv("CC", f"{sys.executable} -c raise(SystemExit(3))")
    command.main()
    assert "non-zero exit status 3" in capfd.readouterr().err
    assert not (folder / build.LIBRARY.name).exists()


def test_it_compiles_without_a_warning(folder: Path) -> None:
    made = subprocess.run(
        ["cc", *build.FLAGS, "-Werror", '-DHEED_SOURCES=""', "-c", *(str(folder / name) for name in build.SOURCES)],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
