"""The road of one request: tokenize, see that there is something to read, queue and compute, unless the client goes."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from starlette.requests import Request

from models.tokenizer import Encoding, Tokenizer
from service.http.observe import RequestFacts
from service.inference.errors import ClientGone, InvalidRequest, Offence
from service.inference.queue import Answer
from service.inference.registry import ServedModel

T = TypeVar("T")

WATCH_CLIENT = "heed.watch_client"
"""In the scope of a request, where the server tells of a client's leaving without a task that waits for it: takes what
to call then, and gives what to call when nobody wants to know any more."""

THREAD_CHARACTERS = 20_000
"""Requests with more text than this are tokenized in a thread, so that they do not hold up the others' answers."""


@dataclass(frozen=True, slots=True)
class Classified:
    """What tokenizer and model said about the texts of one request, in their order."""

    encodings: list[Encoding]
    answers: list[Answer]


async def classify(
    served: ServedModel, texts: Sequence[str], pointers: Sequence[str], *, deadline: float, facts: RequestFacts
) -> Classified:
    """Tokenize and classify `texts`, all of them or none.

    Args:
        served: The model that answers.
        texts: At least one text.
        pointers: Where each came from in the request, as JSON pointers.
        deadline: When the answer must be there, in the event loop's time.
        facts: Is told the counts, and the seconds spent in each stage.

    Raises:
        InvalidRequest: a text has no token.
        Overloaded, DeadlineExceeded, NotReady, PredictionFailed: as the batcher says.
    """
    started = time.perf_counter()
    card, tokenizer = served.bundle.card, served.bundle.tokenizer
    if sum(map(len, texts)) > THREAD_CHARACTERS:
        encodings = await asyncio.to_thread(_encode_all, tokenizer, texts, card.max_tokens)
    else:
        encodings = _encode_all(tokenizer, texts, card.max_tokens)
    facts.stages["tokenize"] = time.perf_counter() - started
    offences = [
        Offence(pointer, "Expected a text with at least one word. Received a text with none.")
        for pointer, encoding in zip(pointers, encodings, strict=True)
        if len(encoding.ids) == 0
    ]
    if offences:
        raise InvalidRequest(offences)
    answers = await served.batcher.submit_many(encodings, deadline=deadline)
    facts.stages["queue"] = max(answer.queue_seconds for answer in answers)
    facts.stages["compute"] = max(answer.compute_seconds for answer in answers)
    facts.model = card.name
    facts.texts = len(texts)
    facts.tokens = sum(len(encoding.ids) for encoding in encodings)
    return Classified(encodings, answers)


def _encode_all(tokenizer: Tokenizer, texts: Sequence[str], max_tokens: int) -> list[Encoding]:
    return [tokenizer.encode(text, max_tokens) for text in texts]


async def unless_client_leaves(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client closes the connection. The body must have been read.

    Raises:
        ClientGone: the client left first.
    """
    working = asyncio.current_task()
    assert working is not None
    gone = False

    def leave() -> None:
        nonlocal gone
        gone = True
        working.cancel()

    watch = request.scope.get(WATCH_CLIENT, partial(_watch_messages, request))
    stop_watching = watch(leave)
    try:
        return await work
    except asyncio.CancelledError:
        if gone and not working.uncancel():
            raise ClientGone from None
        raise
    finally:
        stop_watching()


def _watch_messages(request: Request, leave: Callable[[], None]) -> Callable[[], Any]:
    """Watch for the client's leaving as any ASGI server tells it, until what is returned is called."""

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        leave()

    return asyncio.create_task(watch()).cancel
