"""What is added to each row, and under which names."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from service.scoring.errors import ScoreError

_TOKENS = [{"text": str, "start": int, "end": int, "weight": float, "contribution": float, "known": bool}]

HEAVIEST = 5
"""Tokens that `--explain-columns` names of a text, at most."""


@dataclass(frozen=True, slots=True)
class Added:
    """The columns that a run adds.

    Attributes:
        labels: of the model, in its order.
        tokens: whether to add every token with its weight and contribution.
        explain: whether to add the tokens that count most, as plain columns.
        prefix: what stands before each added name.
    """

    labels: tuple[str, ...]
    tokens: bool = False
    explain: bool = False
    prefix: str = ""

    @property
    def kinds(self) -> dict[str, Any]:
        """Return the names without the prefix, in order, each with its type."""
        kinds: dict[str, Any] = {"label": str, "probability": float}
        kinds |= {f"score_{label}": float for label in self.labels}
        kinds |= {"truncated": bool, "warnings": str}
        if self.tokens or self.explain:
            kinds |= {"target": str, "base_log_odds": float}
        if self.explain:
            kinds |= {"heaviest_tokens": str, "heaviest_weights": str}
            kinds |= {"strongest_tokens": str, "strongest_contributions": str}
        if self.tokens:
            kinds |= {"tokens": _TOKENS}
        return kinds | {"error": str}

    @property
    def types(self) -> dict[str, Any]:
        """Return the names with the prefix, in order, each with its type."""
        return {self.prefix + name: kind for name, kind in self.kinds.items()}

    def check(self, names: Collection[str]) -> None:
        """See that rows with columns of these `names` have room for the added ones.

        Raises:
            ScoreError: a name is taken.
        """
        taken = [name for name in self.types if name in set(names)]
        if taken:
            raise ScoreError(
                f"Expected an input without columns {taken}, which would be added. Received columns {list(names)}. "
                "Give the added ones other names: --prefix heed_"
            )
