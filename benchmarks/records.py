"""Figures kept in files, so that a stopped benchmark resumes."""

import json
import os
from pathlib import Path
from typing import Any


class Records:
    """Figures by name, each with the subject it was measured on; a record of another subject is ignored.

    Args:
        folder: where to keep them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def read(self, name: str, subject: Any) -> dict[str, Any] | None:
        """Return the figures called `name` if they are those of `subject`."""
        try:
            record = json.loads(self._file(name).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        figures: dict[str, Any] | None = record["figures"] if record.get("of") == subject else None
        return figures

    def write(self, name: str, subject: Any, figures: dict[str, Any]) -> None:
        """Keep `figures`; a crash meanwhile leaves the previous record."""
        partial = self._file(name).with_suffix(".partial")
        partial.write_text(json.dumps({"of": subject, "figures": figures}, indent=1), encoding="utf-8")
        os.replace(partial, self._file(name))

    def _file(self, name: str) -> Path:
        return self._folder / f"{name}.json"
