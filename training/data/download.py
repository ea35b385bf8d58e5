"""Download the IMDB archive: resumable, verified, with a progress bar."""

import hashlib
from pathlib import Path

import httpx
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

from training import DataError

IMDB_URL = "https://ai.stanford.edu/~amaas/data/sentiment/aclImdb_v1.tar.gz"
# The home page publishes no checksum; these are widely used ones.
IMDB_DIGESTS = {"md5": "7c2ac02c03563afcf9b574c7e56c153a", "sha1": "01ada507287d82875905620988597833ad4e0903"}


def download(url: str, file: Path, digests: dict[str, str]) -> Path:
    """Download `url` to `file`, resuming an interrupted download; an existing verified file is kept.

    Args:
        digests: expected hexadecimal digests by hash name.

    Returns:
        `file`.

    Raises:
        DataError: the download failed, or its digests differ.
    """
    if file.is_file() and not _differences(file, digests):
        return file
    partial = file.with_name(f"{file.name}.partial")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        _fetch(url, partial)
    except httpx.HTTPError as error:
        raise DataError(
            f"{url}: cannot be downloaded: {error}. Run the same command again to resume from {partial}, or pass the "
            "data with --data."
        ) from error
    if differences := _differences(partial, digests):
        partial.unlink()
        raise DataError(f"{url}: {'; '.join(differences)}. The download was deleted: run the same command again.")
    return partial.rename(file)


def _fetch(url: str, partial: Path) -> None:
    have = partial.stat().st_size if partial.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with httpx.stream("GET", url, headers=headers, follow_redirects=True, timeout=60) as response:
        if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # complete already
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
    """Describe every digest of `file` that differs."""
    differences = []
    for name, expected in digests.items():
        with file.open("rb") as stream:
            received = hashlib.file_digest(stream, name).hexdigest()
        if received != expected:
            differences.append(f"expected {name} {expected}, received {received}")
    return differences
