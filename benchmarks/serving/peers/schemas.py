"""Pydantic models of requests and answers, as FastAPI's documentation has them."""

from pydantic import BaseModel


class Request(BaseModel):
    """One text."""

    text: str


class Token(BaseModel):
    """One token of it."""

    text: str
    start: int
    end: int
    weight: float
    contribution: float


class Answer(BaseModel):
    """The answer to it."""

    label: str
    probability: float
    scores: dict[str, float]
    tokens: list[Token]
