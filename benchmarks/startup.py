"""How long the service takes from the start of its process until it is ready.

    .venv-serve/bin/python -m benchmarks.startup --runs 3

Prints one line a run. The first run after an installation may be slower: the files are not in memory yet.
"""

import argparse
import os
import signal
import socket
import subprocess
import sys
import time

import httpx

LIMIT_SECONDS = 120.0


def seconds_until_ready() -> float:
    """Start the service on a free port, wait until it is ready, and stop it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    started = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "service", "serve"],
        env=os.environ | {"HEED_PORT": str(port)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while time.monotonic() - started < LIMIT_SECONDS:
            if process.poll() is not None:
                raise SystemExit(f"Expected the service to run. It ended with status {process.returncode}.")
            try:
                if httpx.get(f"http://127.0.0.1:{port}/readyz").is_success:
                    return time.monotonic() - started
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise SystemExit(f"Expected the service to be ready within {LIMIT_SECONDS:.0f} s. It is not.")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    for run in range(1, parser.parse_args().runs + 1):
        print(f"run {run}: ready after {seconds_until_ready():.1f} s", flush=True)


if __name__ == "__main__":
    main()
