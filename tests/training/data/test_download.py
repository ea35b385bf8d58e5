import hashlib
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from training import DataError
from training.data.download import download

CONTENT = bytes(range(256)) * 2000
DIGESTS = {"md5": hashlib.md5(CONTENT).hexdigest(), "sha1": hashlib.sha1(CONTENT).hexdigest()}


class Page(ThreadingHTTPServer):
    """A home page that serves CONTENT; it can break off in the middle, and may not know ranges."""

    break_off_after: int | None = None
    knows_ranges = True
    content = CONTENT

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.ranges: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/reviews.tar.gz"


class Handler(BaseHTTPRequestHandler):
    server: Page

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = 0
        if asked and self.server.knows_ranges:
            start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1])  # type: ignore[index]
            if start >= len(self.server.content):
                self.send_error(416)
                return
            self.send_response(206)
        else:
            self.send_response(200)
        body = self.server.content[start:]
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.server.break_off_after])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def page() -> Iterator[Page]:
    server = Page()
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_download_is_whole_and_is_not_repeated(page: Page, tmp_path: Path) -> None:
    file = download(page.url, tmp_path / "cache" / "reviews.tar.gz", DIGESTS)
    assert file.read_bytes() == CONTENT
    download(page.url, file, DIGESTS)
    assert len(page.ranges) == 1
    assert [one.name for one in file.parent.iterdir()] == [file.name]


@pytest.mark.parametrize("knows_ranges", [True, False])
def test_a_broken_download_goes_on_where_it_was(page: Page, tmp_path: Path, knows_ranges: bool) -> None:
    file = tmp_path / "reviews.tar.gz"
    page.break_off_after = 100_000
    with pytest.raises(DataError, match="Run the same command again to resume"):
        download(page.url, file, DIGESTS)
    assert not file.exists()
    page.break_off_after, page.knows_ranges = None, knows_ranges
    assert download(page.url, file, DIGESTS).read_bytes() == CONTENT
    assert page.ranges == [None, "bytes=100000-"]


def test_a_download_that_was_stopped_after_its_last_byte_is_taken(page: Page, tmp_path: Path) -> None:
    (tmp_path / "reviews.tar.gz.partial").write_bytes(CONTENT)
    assert download(page.url, tmp_path / "reviews.tar.gz", DIGESTS).read_bytes() == CONTENT


def test_another_content_is_refused_and_not_kept(page: Page, tmp_path: Path) -> None:
    page.content = CONTENT[:-1] + b"x"
    with pytest.raises(DataError, match=f"expected md5 {DIGESTS['md5']}, received"):
        download(page.url, tmp_path / "reviews.tar.gz", DIGESTS)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"http://127\.0\.0\.1:1/x: cannot be downloaded.*--data"):
        download("http://127.0.0.1:1/x", tmp_path / "x", DIGESTS)
