"""What every part of the benchmark is given: the reviews, how long to measure, and what is known already."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmarks.records import Records
from benchmarks.serving.texts import load_texts


@dataclass(frozen=True)
class Workbench:
    """Where the data is, where figures are kept, and how long to measure.

    Attributes:
        data: the IMDB archive or folder.
        out: where records and environments are kept.
        quick: a tenth to a quarter of the time, to see that everything runs; not for figures.
        soak: requests of the soak.
        refresh: measure again what there are records of.
    """

    data: Path
    out: Path
    quick: bool = False
    soak: int = 200_000
    refresh: bool = False

    @property
    def environments(self) -> Path:
        """Where virtual environments are made."""
        return self.out / "environments"

    @cached_property
    def texts(self) -> list[str]:
        """The reviews."""
        return load_texts(self.data, self.out)

    def seconds(self, seconds: float) -> float:
        """How long to measure what `seconds` are meant for."""
        return max(2.0, seconds / 4) if self.quick else seconds

    def kept(self, name: str, subject: Any, measure: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The figures called `name`, measured unless those of this subject are known."""
        records = Records(self.out / "records")
        of = {"subject": subject, "quick": self.quick}
        figures = None if self.refresh else records.read(name, of)
        if figures is None:
            figures = measure()
            records.write(name, of, figures)
        return figures
