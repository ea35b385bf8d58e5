"""The head of an answer goes out with its body: one call of the system, one packet for the client to wake up for."""

import asyncio
from typing import Any

_HEAD, _END = b"HTTP/1.1 ", b"\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 "  # the client waits for it before it sends more


class HeadHolder:
    """A transport that keeps the head of an answer back until what follows it.

    uvicorn writes head and body apart. All but writing is the transport's own.

    Args:
        transport: what to write to.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""
        self.is_closing = transport.is_closing  # here and not below, since it is asked for at every answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Write what was kept back, and then `data`; or keep that back, if it is a head."""
        is_head = not self._held and data.endswith(_END) and data.startswith(_HEAD) and not data.startswith(_CONTINUE)
        if is_head:
            self._held = data
        else:
            held, self._held = self._held, b""
            self._transport.write(held + data)

    def release(self) -> None:
        """Write what was kept back: nothing follows it."""
        if self._held:
            self.write(b"")

    def close(self) -> None:
        """Write what was kept back, and close."""
        self.release()
        self._transport.close()
