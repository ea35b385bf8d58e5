"""What is added to each row, and under which names."""

from collections.abc import Collection
from dataclasses import dataclass

from service.scoring.errors import ScoreError

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
    def kinds(self) -> dict[str, str]:
        """The names without the prefix, in order, each with what it holds: text, number, truth or tokens."""
        kinds = {"label": "text", "probability": "number"}
        kinds |= {f"score_{label}": "number" for label in self.labels}
        kinds |= {"truncated": "truth"}
        if self.tokens or self.explain:
            kinds |= {"target": "text", "base_log_odds": "number"}
        if self.explain:
            kinds |= {"heaviest_tokens": "text", "heaviest_weights": "text"}
            kinds |= {"strongest_tokens": "text", "strongest_contributions": "text"}
        if self.tokens:
            kinds |= {"tokens": "tokens"}
        return kinds | {"error": "text"}

    @property
    def names(self) -> tuple[str, ...]:
        """The names with the prefix, in order."""
        return tuple(self.prefix + name for name in self.kinds)

    def check(self, names: Collection[str]) -> None:
        """See that rows with columns of these `names` have room for the added ones.

        Raises:
            ScoreError: a name is taken.
        """
        taken = [name for name in self.names if name in set(names)]
        if taken:
            raise ScoreError(
                f"Expected an input without columns {taken}, which would be added. Received columns {list(names)}. "
                "Give the added ones other names: --prefix heed_"
            )
