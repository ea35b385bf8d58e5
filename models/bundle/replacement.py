"""Check the place of a bundle, and replace a folder by a finished one in one step."""

import ctypes
import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models.bundle.card import CARD_FILE
from models.bundle.looks import keep_looks
from models.bundle.verification import BundleError

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2


def check_place(path: Path, *, replace: bool) -> None:
    """Check that a bundle may be written to the folder `path`.

    Raises:
        BundleError: `path` holds something else than a bundle, or a bundle that is not to be replaced.
    """
    if (path / CARD_FILE).is_file():
        if not replace:
            raise BundleError(
                f"{path}: there is a bundle already. Choose another place with --out, or replace it with --replace "
                "(with make: OUT=FOLDER or REPLACE=1)."
            )
    elif path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise BundleError(f"{path}: a bundle is written to a new, an empty or a bundle's folder. Found other things.")


@contextmanager
def folder_beside(path: Path) -> Iterator[Path]:
    """Make an empty folder on the file system of `path`, which is deleted afterwards unless it was moved."""
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", suffix=".partial", dir=path.parent) as scratch:
        partial = Path(scratch) / "bundle"
        partial.mkdir()
        yield partial


def copy_files(source: Path, target: Path, names: Iterable[str]) -> None:
    """Copy the files `names`, given by their paths inside `source`, to `target`."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, target / name)


def replace_folder(new: Path, place: Path) -> None:
    """Move the folder `new` to `place`, and delete what was there except its log of looks. Both are on one file system.

    On Linux the two are exchanged atomically: `place` is always the whole old folder or the whole new one. Elsewhere
    there is a moment in which `place` does not exist and the old folder is beside `new`.
    """
    keep_looks(place, new)
    _flush(new)
    if not place.exists():
        os.rename(new, place)
    elif _exchange(new, place):
        shutil.rmtree(new)
    else:
        old = new.with_name(f"{new.name}.old")
        os.rename(place, old)
        os.rename(new, place)
        shutil.rmtree(old)
    _flush_entry(place.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders atomically; False where the system cannot."""
    if not sys.platform.startswith("linux"):
        return False
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    if renameat2(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in (errno.ENOSYS, errno.EINVAL, errno.EXDEV):
        return False
    raise OSError(code, os.strerror(code), str(other))


def _flush(folder: Path) -> None:
    """Write every file of `folder` to disk, before a name points to it."""
    for file in folder.rglob("*"):
        if file.is_file():
            with file.open("rb") as stream:
                os.fsync(stream.fileno())
        else:
            _flush_entry(file)
    _flush_entry(folder)


def _flush_entry(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
