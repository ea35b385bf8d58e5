"""Names and types of the columns that scoring adds."""

from collections.abc import Collection
from dataclasses import dataclass

from service.scoring.errors import ScoreError

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
    def kinds(self) -> dict[str, str]:
        """Map the names without the prefix, in order, to their types: text, number, truth or tokens."""
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
        """Check that no added column is among `names`.

        Raises:
            ScoreError: a name is taken.
        """
        taken = [name for name in self.names if name in set(names)]
        if taken:
            raise ScoreError(
                f"Expected an input without the added columns {taken}. Received columns {list(names)}. "
                "Rename the added ones: --prefix heed_"
            )
