"""The log of looks at a published test part, a line of JSON each. It is beside the bundle's files and none of them:
no hash covers it, and loading does not need it."""

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
    try:
        with file.open("a+", encoding="utf-8") as log:
            log.write(json.dumps(look, ensure_ascii=False) + "\n")
            log.seek(0)
            return sum(1 for _ in log)
    except OSError as error:
        raise BundleError(f"{file}: cannot log a look at the test part. {error.strerror or error}.") from error


def keep_looks(old: Path, new: Path) -> None:
    """Copy the log of the bundle in folder `old`, if there is one, to the bundle in `new` that will replace it.

    Each look names the version it measured, so the log tells of every version that was there.
    """
    if (old / LOOKS_FILE).is_file():
        shutil.copy(old / LOOKS_FILE, new / LOOKS_FILE)
