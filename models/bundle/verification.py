"""Checks that every file of a bundle passes before its contents are used."""

import hashlib
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

MAX_FILES = 256
MAX_FILE_BYTES = 1 << 30


class BundleError(Exception):
    """A bundle is refused; the message says which file or class, what was expected and what was found."""


def file_hash(file: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def check_files(folder: Path, digests: Mapping[str, str]) -> None:
    """Raise a BundleError unless every file that the card lists is in `folder`, small enough, and has its SHA-256."""
    if len(digests) > MAX_FILES:
        raise BundleError(f"{folder}: expected at most {MAX_FILES} files. The card lists {len(digests)}.")
    root = folder.resolve()
    for name, expected in digests.items():
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\\" in name or "\0" in name:
            raise BundleError(f"{folder}: expected file names inside the bundle. Received {name!r}, which climbs out.")
        try:
            _check_file(root, folder / name, expected)
        except (OSError, ValueError, RuntimeError) as error:  # unreadable, no name for a file, a loop of links
            raise BundleError(f"{folder / name}: expected a readable file. {error}.") from error


def _check_file(root: Path, file: Path, expected: str) -> None:
    place = file.resolve()
    if not place.is_relative_to(root):
        raise BundleError(f"{file}: expected a file inside the bundle. It is a link to {place}.")
    if not file.is_file():
        raise BundleError(f"{file}: expected a file, as the card lists it. Found none.")
    if (size := file.stat().st_size) > MAX_FILE_BYTES:
        raise BundleError(f"{file}: expected at most {MAX_FILE_BYTES} bytes. Received {size}.")
    if (received := file_hash(file)) != expected:
        raise BundleError(f"{file}: expected SHA-256 {expected}. Received {received}: the file was changed.")
