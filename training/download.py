"""The IMDB archive from its home page: resumable, verified, with a progress bar."""

import hashlib
from pathlib import Path

import httpx
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from training.errors import DataError

IMDB_URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
# The home page publishes no checksum; these are the ones under which the archive is known.
IMDB_DIGESTS = {"md5": "7c2ac02c03563afcf9b574c7e56c153a", "sha1": "01ada507287d82875905620988597833ad4e0903"}


def download(url: str, file: Path, digests: dict[str, str]) -> Path:
    """Download `url` to `file`, going on where an earlier attempt stopped.

    Args:
        digests: hexadecimal digest by name of hash; every one must agree.

    Returns:
        `file`, whole and verified. One that is already there and verified is not downloaded again.

    Raises:
        DataError: the address cannot be reached, or what came has another digest.
    """
    if file.is_file() and not _differences(file, digests):
        return file
    partial = file.with_name(f"{file.name}.partial")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(url, partial)
    except httpx.HTTPError as error:
        raise DataError(
            f"{url}: cannot be downloaded: {error}. What came so far is kept in {partial}: run the same command again "
            "to go on, or give the data with --data."
        ) from error
    if differences := _differences(partial, digests):
        partial.unlink()
        raise DataError(f"{url}: {'; '.join(differences)}. The download is deleted: run the same command again.")
    return partial.rename(file)


def _fetch(url: str, partial: Path) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=60) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # all of it is here already
        response.raise_for_status()
        resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        remaining = response.headers.get("Content-Length")
        columns = ("[progress.description]{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with partial.open("ab" if resumed else "wb") as stream, Progress(*columns, TimeRemainingColumn()) as progress:
            done = have if resumed else 0
            task = progress.add_task(partial.stem, completed=done, total=done + int(remaining) if remaining else None)
            for chunk in response.iter_bytes():
                stream.write(chunk)
                progress.advance(task, len(chunk))


def _differences(file: Path, digests: dict[str, str]) -> list[str]:
    """What is wrong with `file`, in words; nothing where every digest agrees."""
    differences = []
    for name, expected in digests.items():
        with file.open("rb") as stream:
            received = hashlib.file_digest(stream, name).hexdigest()
        if received != expected:
            differences.append(f"expected {name} {expected}, received {received}")
    return differences
