"""The shapes of the responses.

Responses are written from arrays (`service.predictions`); the classes here are
their contract: OpenAPI shows it, and the tests check real responses against it.
"""

from typing import Literal

from pydantic import BaseModel, Field

from service.predictions import OffsetEncoding, WarningCode

EXAMPLE_REVIEW = "I did not like it."


class PredictionWarning(BaseModel):
    """A reason to trust a prediction less."""

    code: WarningCode = Field(
        description="`truncated`: the text has more tokens than the model reads. "
        "`mostly_unknown`: more than half of the tokens read are not in the vocabulary.",
        examples=["truncated"],
    )
    message: str = Field(
        description="The same in words.", examples=["The text has 700 tokens; the first 512 were read."]
    )


class Token(BaseModel):
    """One token of the text and its part in the prediction."""

    text: str = Field(description="Exactly the slice `start:end` of what was sent.", examples=["like"])
    start: int = Field(ge=0, description="Where it starts, in `offset_encoding` units.", examples=[10])
    end: int = Field(ge=0, description="Where it ends, exclusive.", examples=[14])
    weight: float = Field(
        ge=0, le=1, description="Attention weight: where the model looked. All tokens' sum to 1.", examples=[0.31]
    )
    contribution: float | None = Field(
        description="Signed part of the log-odds of `target`; null if the mechanism has no exact one.",
        examples=[-0.8],
    )
    known: bool = Field(description="Whether it is in the vocabulary.", examples=[True])


class Truncation(BaseModel):
    """How much of the text was read."""

    applied: bool = Field(description="Whether tokens were left out.", examples=[False])
    tokens_total: int = Field(ge=1, description="Tokens in the text.", examples=[6])
    tokens_read: int = Field(ge=1, description="Tokens that the model read: the first ones.", examples=[6])


class Prediction(BaseModel):
    """The answer for one text."""

    label: str = Field(description="The likeliest label.", examples=["negative"])
    probability: float = Field(ge=0, le=1, description="Its calibrated probability.", examples=[0.93])
    scores: dict[str, float] = Field(
        description="Calibrated probability of every label.", examples=[{"negative": 0.93, "positive": 0.07}]
    )
    target: str = Field(
        description="The label whose log-odds the contributions add up to: with two labels always the second, "
        "with more the winning one.",
        examples=["positive"],
    )
    base_log_odds: float | None = Field(
        description="Log-odds of `target` before any token is read. With the sum of all contributions it gives "
        "ln p(target) - mean of ln p(every other label), within 1e-4. Null where contributions are.",
        examples=[-0.31],
    )
    tokens: list[Token] = Field(
        description="In text order; fewer, or none, where the request says so.",
        examples=[[{"text": "like", "start": 10, "end": 14, "weight": 0.31, "contribution": -0.8, "known": True}]],
    )
    truncation: Truncation = Field(
        description="How much was read.", examples=[{"applied": False, "tokens_total": 6, "tokens_read": 6}]
    )
    warnings: list[PredictionWarning] = Field(description="What to know before trusting it.", examples=[[]])


class AnsweringModel(BaseModel):
    """Which model answered."""

    name: str = Field(description="Its name.", examples=["default"])
    version: str = Field(description="A short hash of its contents.", examples=["3f2a91c07b1e"])
    mechanism: str = Field(description="How it attends.", examples=["additive_pooling"])
    attention_is: Literal["exact", "approximate"] = Field(
        description="Whether the model pooled with exactly these weights, or they are reduced from more.",
        examples=["exact"],
    )
    attention_above_chance: bool | None = Field(
        description="Whether the weights explain predictions better than a random ranking of the tokens; null if that "
        "was not measured.",
        examples=[True],
    )


class PredictResponse(BaseModel):
    """The answer of `POST /predict`: one prediction per text, in their order."""

    model: AnsweringModel = Field(
        description="The model behind these predictions.",
        examples=[
            {
                "name": "default",
                "version": "3f2a91c07b1e",
                "mechanism": "additive_pooling",
                "attention_is": "exact",
                "attention_above_chance": True,
            }
        ],
    )
    offset_encoding: OffsetEncoding = Field(description="What `start` and `end` count.", examples=["codepoint"])
    predictions: list[Prediction] = Field(description="One per text.")


class ModelSummary(AnsweringModel):
    """A loaded model; `GET /models/{name}` has its whole card."""

    labels: list[str] = Field(description="Its labels.", examples=[["negative", "positive"]])
    max_tokens: int = Field(ge=1, description="Tokens of a text that it reads.", examples=[512])


class RefusedBundle(BaseModel):
    """A folder of `models_dir` that is not served."""

    name: str = Field(description="The folder's name.", examples=["broken"])
    reason: str = Field(
        description="Why it is not served.", examples=["model.keras: its hash is not the one in bundle.json"]
    )


class ModelList(BaseModel):
    """The loaded models and the refused bundles."""

    default: str = Field(description="The model that answers a request that names none.", examples=["default"])
    models: list[ModelSummary] = Field(description="The loaded models.")
    refused: list[RefusedBundle] = Field(description="The bundles that were refused, with the reason.", examples=[[]])


class Health(BaseModel):
    """The answer of a health route if all is well."""

    status: Literal["alive", "started", "ready"] = Field(
        description="The state that was asked for.", examples=["ready"]
    )


class OffenceEntry(BaseModel):
    """One thing wrong with a request."""

    pointer: str = Field(description="JSON pointer to the place; empty for the whole body.", examples=["/texts/3"])
    detail: str = Field(
        description="What was expected there and what was received.",
        examples=["Expected a text with at least one word. Received a blank text."],
    )


class Problem(BaseModel):
    """A failure (RFC 9457)."""

    type: str = Field(description="Stable name of the failure.", examples=["urn:heed:problem:invalid-request"])
    title: str = Field(description="The failure in words that never vary.", examples=["The request is not valid"])
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(
        description="What was expected, what was received, what to do.",
        examples=["The request has one offence; 'errors' points at each."],
    )
    instance: str = Field(description="The path that was asked.", examples=["/predict"])
    errors: list[OffenceEntry] = Field(
        description="Every offence with its place.",
        examples=[
            [{"pointer": "/texts/3", "detail": "Expected a text with at least one word. Received a blank text."}]
        ],
    )
