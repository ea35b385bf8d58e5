"""Clients of a batcher that come, wait, and leave at random moments."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from models.tokenizer import Encoding
from service.inference.batcher import Batcher
from service.inference.errors import DeadlineExceeded, Overloaded, PredictionFailed
from service.inference.queue import Answer

PROMPT = 20.0  # seconds: a test that waits so long for something that comes at once has failed
LONGEST = 16  # tokens
FAULTS = ("poison", "not finite")


@dataclass(frozen=True)
class Client:
    arrives: float
    texts: tuple[tuple[int, str | None], ...]  # tokens and fault of each
    leaves_after: float | None
    deadline: float


milliseconds = st.integers(0, 12).map(lambda count: count / 1000)
clients = st.lists(
    st.builds(
        Client,
        arrives=milliseconds,
        texts=st.lists(
            st.tuples(st.integers(0, LONGEST), st.sampled_from([None] * 8 + [*FAULTS])), min_size=1, max_size=5
        ).map(tuple),
        leaves_after=st.none() | milliseconds,
        deadline=st.sampled_from([PROMPT, PROMPT, 0.003]),
    ),
    min_size=1,
    max_size=25,
)


def in_time(scenario: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(PROMPT):
            await scenario

    asyncio.run(bounded())


def later(seconds: float = PROMPT) -> float:
    return asyncio.get_running_loop().time() + seconds


async def until(condition: Any) -> None:
    while not condition():
        await asyncio.sleep(0.001)


async def visit_all(
    batcher: Batcher,
    clients: Sequence[Client],
    encode: Callable[[int, int, str | None], Encoding],
    assert_answers: Callable[[Answer, Encoding], None],
) -> list[float | None]:
    """Let all clients come and see that each gets what is its own; the `retry_after` of those that were refused.

    Args:
        batcher: started.
        clients: in any order.
        encode: a text for the number of a client, of so many tokens, with that fault if it has any.
        assert_answers: fails where an answer is not that of the text.
    """
    refusals: list[float | None] = []

    async def visit(number: int, client: Client) -> None:
        encodings = [encode(number, tokens, fault) for tokens, fault in client.texts]
        faulty = any(tokens and fault for tokens, fault in client.texts)
        await asyncio.sleep(client.arrives)
        asked = asyncio.create_task(batcher.submit_many(encodings, deadline=later(client.deadline)))
        if client.leaves_after is not None:
            asyncio.get_running_loop().call_later(client.leaves_after, asked.cancel)
        try:
            answers = await asked
        except PredictionFailed:
            assert faulty
        except DeadlineExceeded:
            assert client.deadline < PROMPT
        except asyncio.CancelledError:
            assert client.leaves_after is not None
        except Overloaded as error:
            refusals.append(error.retry_after)
        else:
            assert not faulty
            assert len(answers) == len(encodings)
            for answer, encoding in zip(answers, encodings, strict=True):
                assert_answers(answer, encoding)

    await asyncio.gather(*(visit(number, client) for number, client in enumerate(clients)))
    await until(lambda: batcher.queued_tokens == 0)
    assert batcher.healthy
    return refusals
