"""Names and types of the columns that scoring adds."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from service.scoring.errors import ScoreError

_TOKENS = [{"text": str, "start": int, "end": int, "weight": float, "contribution": float, "known": bool}]

HEAVIEST = 5
"""Maximum tokens per text in `--explain-columns`."""


@dataclass(frozen=True, slots=True)
class Added:
    """The columns that a run adds.

    Attributes:
        labels: of the model, in order.
        tokens: add every token with its weight and contribution.
        explain: add the most important tokens as text columns.
        prefix: of each added name.
    """

    labels: tuple[str, ...]
    tokens: bool = False
    explain: bool = False
    prefix: str = ""

    @property
    def kinds(self) -> dict[str, Any]:
        """Map the names without the prefix, in order, to their types."""
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
        """Map the names with the prefix, in order, to their types."""
        return {self.prefix + name: kind for name, kind in self.kinds.items()}

    def check(self, names: Collection[str]) -> None:
        """Check that no added column is among `names`.

        Raises:
            ScoreError: a name is taken.
        """
        taken = [name for name in self.types if name in set(names)]
        if taken:
            raise ScoreError(
                f"Expected an input without the added columns {taken}. Received columns {list(names)}. "
                "Rename the added ones: --prefix heed_"
            )
