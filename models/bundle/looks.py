"""The log of looks at a published test part, one line of JSON each.

It lies in the bundle's folder, but no hash covers it and loading ignores it.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.bundle.verification import BundleError

LOOKS_FILE = "looks.jsonl"


def add_look(bundle: Path, look: Mapping[str, Any]) -> int:
    """Append a look to the log of the bundle in folder `bundle`; return how many looks there are then.

    Raises:
        BundleError: the log cannot be written.
    """
    file = bundle / LOOKS_FILE
    if file.is_symlink():  # a foreign bundle must not lead to files outside it
        raise BundleError(f"{file}: expected a file. Found a link: remove it.")
    try:
        with file.open("a+", encoding="utf-8") as log:
            log.write(json.dumps(look, ensure_ascii=False) + "\n")
            log.seek(0)
            return sum(1 for _ in log)
    except OSError as error:
        raise BundleError(f"{file}: cannot log a look at the test part. {error.strerror or error}.") from error


def read_looks(bundle: Path) -> list[dict[str, Any]]:
    """Return the looks at the bundle in folder `bundle`, the first one first."""
    file = bundle / LOOKS_FILE
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []


def keep_looks(old: Path, new: Path) -> None:
    """Copy the log of the bundle in folder `old`, if there is one, to the bundle in `new` that will replace it.

    Each look names the version it measured, so the log tells of every version that was there.
    """
    file = old / LOOKS_FILE
    if file.is_file() and not file.is_symlink():
        shutil.copy(file, new / LOOKS_FILE)
