"""Requests and answers as FastAPI's documentation has them: pydantic models, which it checks and serialises."""

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
    """What is said of the text."""

    label: str
    probability: float
    scores: dict[str, float]
    tokens: list[Token]
