"""How long the service takes from the start of its process until it is ready.

    .venv-serve/bin/python -m benchmarks.startup --runs 3

Prints one line a run. The first run after an installation may be slower: the files are not in memory yet.
"""

import argparse
import sys
from pathlib import Path

from benchmarks.serving.services import running_heed


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    for run in range(1, parser.parse_args().runs + 1):
        with running_heed(Path(sys.executable), None) as service:
            print(f"run {run}: ready after {service.seconds_until_ready:.1f} s", flush=True)


if __name__ == "__main__":
    main()
