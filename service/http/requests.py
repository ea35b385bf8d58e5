"""Read the body of a request into a `PredictRequest`, or find everything wrong with it."""

import json
import zlib
from typing import Annotated, Any

import orjson
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
)
from pydantic_core import ErrorDetails, PydanticCustomError
from starlette.requests import Request

from service.http.middleware import header_of
from service.http.problems import (
    BodyTooLarge,
    InvalidRequest,
    MalformedBody,
    Offence,
    UnknownEncoding,
    WrongMediaType,
)
from service.http.schemas import EXAMPLE_REVIEW
from service.predictions import OffsetEncoding
from service.settings import Settings

MAX_OFFENCES = 64
"""The most offences that one problem document lists."""

_EXPECTED = {
    "string_type": "a string",
    "int_type": "an integer",
    "bool_type": "true or false",
    "list_type": "an array",
    "model_type": "a JSON object",
}


def _check_text(text: str, info: ValidationInfo[Settings]) -> str:
    limits = info.context
    if len(text) > limits.max_text_characters:
        raise PydanticCustomError(
            "text_too_long",
            "Expected at most {most} characters. Received {received}.",
            {"most": f"{limits.max_text_characters:,}", "received": f"{len(text):,}"},
        )
    if not text or text.isspace():
        raise PydanticCustomError("text_blank", "Expected a text with at least one word. Received a blank text.")
    return text


def _check_count(texts: Any, info: ValidationInfo[Settings]) -> Any:
    """Refuse too many texts before validating each."""
    limits = info.context
    if isinstance(texts, list) and not 1 <= len(texts) <= limits.max_texts:
        raise PydanticCustomError(
            "texts_count",
            "Expected 1 to {most} texts in one request. Received {received}.",
            {"most": limits.max_texts, "received": len(texts)},
        )
    return texts


ReviewText = Annotated[str, AfterValidator(_check_text)]


class PredictRequest(BaseModel):
    """One text or several, and what to say about each. Exactly one of `text` and `texts` is given."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        json_schema_extra={
            "oneOf": [
                {"required": ["text"], "properties": {"text": {"type": "string"}, "texts": {"type": "null"}}},
                {"required": ["texts"], "properties": {"texts": {"type": "array"}, "text": {"type": "null"}}},
            ],
            "examples": [{"texts": [EXAMPLE_REVIEW, "A wonderful, moving film; the acting is superb!"]}],
        },
    )

    text: ReviewText | None = Field(None, description="The text to classify.", examples=[EXAMPLE_REVIEW])
    texts: Annotated[list[ReviewText], BeforeValidator(_check_count)] | None = Field(
        None, description="The texts to classify; answers come in the same order.", examples=[[EXAMPLE_REVIEW]]
    )
    model: str | None = Field(
        None, max_length=200, description="Name of a loaded model; null: the default one.", examples=["default"]
    )
    attention: bool = Field(True, description="Whether to give `tokens`; without, they are `[]`.", examples=[True])
    top_tokens: int | None = Field(
        None, ge=1, description="Give only this many tokens, the heaviest, in text order; null: all.", examples=[5]
    )
    offset_encoding: OffsetEncoding = Field(
        "codepoint",
        description="What `start` and `end` count: code points (Python), UTF-16 units (JavaScript) or UTF-8 bytes.",
        examples=["codepoint"],
    )

    @property
    def all_texts(self) -> list[str]:
        """The texts to classify, whichever way they were given."""
        return [self.text] if self.text is not None else self.texts or []

    @property
    def text_pointers(self) -> list[str]:
        """A JSON pointer to each of `all_texts`."""
        return ["/text"] if self.text is not None else [f"/texts/{index}" for index in range(len(self.all_texts))]


async def read_json(request: Request, max_bytes: int) -> Any:
    """Read the JSON document in the body of a request.

    Raises:
        WrongMediaType: the body does not claim to be JSON.
        UnknownEncoding: it is compressed by other means than gzip.
        BodyTooLarge: it has more than `max_bytes`, compressed or not.
        MalformedBody: it is not JSON text.
    """
    media_type = header_of(request.scope, b"content-type")
    # Parameters are ignored: JSON is UTF-8, whatever a charset claims.
    if (media_type or "").partition(";")[0].strip().lower() != "application/json":
        raise WrongMediaType(media_type)
    return parse_json(await _read_body(request, max_bytes))


async def _read_body(request: Request, max_bytes: int) -> bytes:
    encoding = (header_of(request.scope, b"content-encoding") or "").strip()
    if encoding.lower() not in ("", "identity", "gzip", "x-gzip"):
        raise UnknownEncoding(encoding)
    announced = header_of(request.scope, b"content-length") or "0"
    if announced.isdecimal() and int(announced) > max_bytes:
        raise BodyTooLarge(max_bytes)
    chunks, size = [], 0
    async for chunk in request.stream():
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise BodyTooLarge(max_bytes)
    body = b"".join(chunks)
    return _gunzip(body, max_bytes) if encoding.lower() in ("gzip", "x-gzip") else body


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    """Decompress one gzip stream, and never more of it than `max_bytes`."""
    decoder = zlib.decompressobj(wbits=31)
    try:
        plain = decoder.decompress(body, max_bytes + 1)
    except zlib.error as error:
        raise MalformedBody(
            f"Expected a gzip stream, as Content-Encoding says. Received something else: {error}."
        ) from None
    if len(plain) > max_bytes:
        raise BodyTooLarge(max_bytes)
    if not decoder.eof or decoder.unused_data:
        raise MalformedBody("Expected one whole gzip stream, as Content-Encoding says. Received less or more.")
    return plain


def parse_json(body: bytes) -> Any:
    """Parse `body`. Invalid UTF-8, lone surrogates, NaN, infinities and repeated names are not JSON here.

    Raises:
        MalformedBody: says what is wrong and, where known, at which place.
    """
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise MalformedBody(f"Expected JSON text in UTF-8. Received something else: {error}.") from None
    try:
        # orjson keeps the last of two equal names. Which of them was meant is not ours to guess.
        json.loads(body, object_pairs_hook=_refuse_repeated_names, parse_int=float)
    except RecursionError:
        raise MalformedBody("Expected JSON text. Received arrays or objects nested too deeply.") from None
    return document


def _refuse_repeated_names(pairs: list[tuple[str, Any]]) -> None:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        repeated = next(name for name in names if names.count(name) > 1)
        raise MalformedBody(f"Expected each name once in a JSON object. Received {repeated[:40]!r} more than once.")


def read_predict_request(document: Any, settings: Settings) -> PredictRequest:
    """Read the request in a JSON document, within the limits of `settings`.

    Raises:
        InvalidRequest: the document is not one; every offence has its pointer.
    """
    offences: list[Offence] = []
    request = None
    try:
        request = PredictRequest.model_validate(document, context=settings)
    except ValidationError as error:
        offences = offences_in(error, PredictRequest)
    if isinstance(document, dict):
        given = [name for name in ("text", "texts") if document.get(name) is not None]
        if len(given) != 1:
            received = "both" if given else "neither"
            offences.append(Offence("", f"Expected exactly one of 'text' and 'texts'. Received {received}."))
    if request is None or offences:
        raise InvalidRequest(offences)
    return request


def offences_in(error: ValidationError, shape: type[BaseModel]) -> list[Offence]:
    """Return what validating against `shape` found, as JSON pointers with what was expected and received there."""
    found = error.errors(include_url=False, include_context=False)
    return [_offence(each, shape) for each in found[:MAX_OFFENCES]]


def _offence(error: ErrorDetails, shape: type[BaseModel]) -> Offence:
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in error["loc"])
    message = error["msg"]
    if message.startswith("Expected "):  # from our own validators
        return Offence(pointer, message)
    if error["type"] == "extra_forbidden":
        fields = ", ".join(repr(name) for name in shape.model_fields)
        return Offence(pointer, f"Expected no field of this name; the fields are {fields}.")
    expected = _EXPECTED.get(error["type"]) or message.removeprefix("Input should be ").removeprefix(
        "String should have "
    )
    if expected.startswith("greater"):
        expected = "a number " + expected
    return Offence(pointer, f"Expected {expected}. Received {_shown(error['input'])}.")


def _shown(value: Any) -> str:
    """Describe a JSON value in a few words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return f"the number {value!r}"
        case str():
            return f"the string {value!r}" if len(value) <= 40 else f"a string of {len(value):,} characters"
        case list():
            return f"an array of {len(value):,}"
        case _:
            return "an object"
