"""Log lines of one turn of the event loop are written together."""

import asyncio
import io
import threading

from service.http.observe import GatheredLines


class Pipe(io.BytesIO):
    """Remembers what was written to it, in which pieces."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[bytes] = []

    def write(self, data: bytes) -> int:  # type: ignore[override]
        self.pieces.append(data)
        return len(data)


def test_lines_of_one_turn_of_the_event_loop_are_one_write() -> None:
    pipe = Pipe()
    lines = GatheredLines(pipe)

    async def log() -> None:
        for turn in range(2):
            for line in (b"one\n", b"two\n"):
                assert lines.write(line) == 4
                lines.flush()
            assert len(pipe.pieces) == turn
            await asyncio.sleep(0)

    asyncio.run(log())
    assert pipe.pieces == [b"one\ntwo\n"] * 2


def test_what_comes_from_a_thread_is_written_at_once_after_what_waits() -> None:
    pipe = Pipe()
    lines = GatheredLines(pipe)

    async def log() -> None:
        lines.write(b"waits\n")
        thread = threading.Thread(target=lines.write, args=(b"from a thread\n",))
        thread.start()
        thread.join()
        assert pipe.pieces == [b"waits\nfrom a thread\n"]

    asyncio.run(log())
    lines.write(b"without a loop\n")
    assert pipe.pieces == [b"waits\nfrom a thread\n", b"without a loop\n"]


def test_what_the_last_turn_left_is_written_when_the_loop_ends() -> None:
    pipe = Pipe()
    lines = GatheredLines(pipe)

    async def log() -> None:
        lines.write(b"last\n")

    asyncio.run(log())
    assert pipe.pieces == [b"last\n"]
