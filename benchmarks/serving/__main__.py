"""Measure the service beside its alternatives, judge the figures by their targets, update docs/performance.md.

    make bench DATA=aclImdb_v1.tar.gz
    .venv/bin/python -m benchmarks.serving --data aclImdb_v1.tar.gz --parts peers --peers litserve mlserver
    .venv/bin/python -m benchmarks.serving --data aclImdb_v1.tar.gz --parts overload --quick

Parts: peers (requests/s of Heed and its peers), single (one connection, above the bare forward pass), overload (three
times capacity), engines (start, memory and rate of every engine, with and without kernels). Figures of the same code
are kept under --out, so a stopped run resumes; --refresh measures them again. Exits with 1 if a target is missed. Run
nothing else on the machine meanwhile: each line says how many cores others took.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.marked_page import fill
from benchmarks.serving import comparison, engines, overload, page, single
from benchmarks.serving.peers.roster import PEERS
from benchmarks.serving.services import ROOT
from benchmarks.serving.workbench import Workbench

PARTS: dict[str, Callable[[Workbench], dict[str, Any]]] = {
    "peers": comparison.run,
    "single": single.run,
    "overload": overload.run,
    "engines": engines.run,
}


def main() -> None:
    """Measure, print, update the page."""
    given = _arguments()
    bench = Workbench(given.data, given.out, tuple(given.peers), quick=given.quick, refresh=given.refresh)
    started, figures = time.monotonic(), {}
    for name in given.parts:
        print(f"[{(time.monotonic() - started) / 60:4.1f} min] {name}", flush=True)
        figures[name] = PARTS[name](bench)
    parts, verdicts = page.tables(figures), page.verdicts(figures)
    print(f"[{(time.monotonic() - started) / 60:4.1f} min] done", *parts.values(), sep="\n\n")
    print("", *verdicts, sep="\n")
    if set(given.parts) == set(PARTS) and len(bench.peers) == len(PEERS) and not given.quick:
        fill(ROOT / "docs" / "performance.md", parts)
        print("Updated docs/performance.md.")
    raise SystemExit(not all(verdict.met for verdict in verdicts))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    peers = [peer.name for peer in PEERS]
    parser.add_argument("--data", type=Path, required=True, help="the IMDB archive or folder")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), help="what to measure")
    parser.add_argument("--peers", nargs="*", choices=peers, default=peers, help="what to compare with")
    parser.add_argument("--out", type=Path, default=Path("runs/serving"), help="folder of records and environments")
    parser.add_argument("--quick", action="store_true", help="a quarter of the time, to try it; not for figures")
    parser.add_argument("--refresh", action="store_true", help="ignore records")
    return parser.parse_args()


if __name__ == "__main__":
    main()
