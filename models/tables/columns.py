"""Finds the chosen column among the names of a table."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from models.tables.errors import TableError

_NAMES_SHOWN = 30


@dataclass(frozen=True, slots=True)
class Chosen:
    """A column that a person chose: its name, and the option that chooses it."""

    name: str
    option: str

    def find(self, names: Sequence[str], where: str) -> int:
        """Return the place of the column among `names`. Another spelling is never taken for it.

        Raises:
            TableError: there is no such column, or more than one.
        """
        count = names.count(self.name)
        if count == 1:
            return names.index(self.name)
        shown = f"{list(names[:_NAMES_SHOWN])}" + (
            f" and {len(names) - _NAMES_SHOWN} more" * (len(names) > _NAMES_SHOWN)
        )
        if count:
            raise TableError(
                f"{where}: expected one column {self.name!r} ({self.option}). Received {count} of that name: {shown}. "
                "Rename all but one of them."
            )
        near = self._near(names)
        hint = "" if near is None else f" Nearly the same is {near!r}: {self.option} {shlex.quote(near)}"
        raise TableError(f"{where}: expected a column {self.name!r} ({self.option}). Received columns {shown}.{hint}")

    def _near(self, names: Sequence[str]) -> str | None:
        """Return the name that is nearly meant."""
        folded = {name.strip().casefold(): name for name in reversed(names)}
        near = get_close_matches(self.name.strip().casefold(), folded, n=1)
        return folded[near[0]] if near else None


def distinct(names: Sequence[str]) -> list[str]:
    """Return the names with `_2`, `_3` behind those that repeat, for formats whose names must differ."""
    taken = set(names)
    seen: set[str] = set()
    result = []
    for name in names:
        number, fresh = 2, name
        while fresh in seen or (fresh != name and fresh in taken):
            fresh = f"{name}_{number}"
            number += 1
        seen.add(fresh)
        result.append(fresh)
    return result
