"""What the load generator itself costs: it shares the cores with what it measures."""

import asyncio
import multiprocessing
import socket
from typing import cast

import httptools
import uvloop

from benchmarks.serving.load.generator import closed_loop
from benchmarks.serving.load.requests import Target, heed_body

ANSWER_BYTES = 27_000
"""About what the service answers to a review of average length."""

_TEXT = "a word " * 190


def cost_per_request(connections: int, seconds: float) -> float:
    """Processor seconds that the generator spends on one request, against a server that answers everything alike."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(1024)
        server = multiprocessing.get_context("fork").Process(target=_serve, args=(listening,), daemon=True)
        server.start()
        try:
            target = Target("127.0.0.1", listening.getsockname()[1], "/predict", heed_body)
            outcome = closed_loop(target, target.requests([_TEXT]), connections=connections, seconds=seconds)
        finally:
            server.kill()
            server.join()
    return outcome.own_cpu_seconds / len(outcome.samples.status)


def _serve(listening: socket.socket) -> None:
    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(_SameAnswer, sock=listening)
        await server.serve_forever()

    uvloop.run(serve())


class _SameAnswer(asyncio.Protocol):
    """Answers every request with the same bytes."""

    _answer = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {ANSWER_BYTES}\r\n\r\n".encode()
    _answer += b"x" * ANSWER_BYTES

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(self._answer)
