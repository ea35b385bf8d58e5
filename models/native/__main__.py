"""`python -m models.native`: compile the hot loops, unless that is done."""

import subprocess
import sys

from models.native import library
from models.native.build import build


def main() -> None:
    """Never fails, since everything runs without them."""
    if library() is not None:
        return
    try:
        print(f"Compiled {build()}.", file=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"Not compiled, so the service will be slower: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
