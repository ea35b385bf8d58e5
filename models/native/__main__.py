"""`python -m models.native`: compile the kernels, unless that is done."""

import subprocess
import sys

from models.native import library
from models.native.build import build


def main() -> None:
    """Compile, or say why not; everything runs without the kernels."""
    if library() is not None:
        return
    try:
        print(f"Compiled {build()}.", file=sys.stderr)
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"Not compiled, so the service will be slower: {error}", file=sys.stderr)


if __name__ == "__main__":
    main()
