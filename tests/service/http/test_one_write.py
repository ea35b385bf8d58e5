"""Heads that wait for what follows them."""

import asyncio
from typing import cast

from service.http.one_write import HeadHolder

HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"


class Wire:
    """A transport that remembers what was written to it, in which pieces."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.pieces.append(data)

    def close(self) -> None:
        self.pieces.append(b"closed")

    def is_closing(self) -> bool:
        return False


def held() -> tuple[Wire, HeadHolder]:
    wire = Wire()
    return wire, HeadHolder(cast(asyncio.Transport, wire))


def test_a_head_goes_out_with_its_body() -> None:
    wire, holder = held()
    holder.write(HEAD)
    assert wire.pieces == []
    holder.write(b"{}")
    holder.write(b"more")
    assert wire.pieces == [HEAD + b"{}", b"more"]


def test_a_head_that_nothing_follows_is_released() -> None:
    wire, holder = held()
    holder.write(HEAD)
    holder.release()
    holder.release()
    assert wire.pieces == [HEAD]


def test_closing_loses_nothing() -> None:
    wire, holder = held()
    holder.write(HEAD)
    holder.close()
    assert wire.pieces == [HEAD, b"closed"]


def test_what_the_client_waits_for_is_not_kept() -> None:
    wire, holder = held()
    holder.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert wire.pieces == [b"HTTP/1.1 100 Continue\r\n\r\n"]


def test_a_body_that_looks_like_a_head_follows_its_own() -> None:
    wire, holder = held()
    holder.write(HEAD)
    holder.write(HEAD)
    assert wire.pieces == [HEAD + HEAD]


def test_all_else_is_the_transports_own() -> None:
    _, holder = held()
    assert holder.is_closing() is False
