"""Measure how fast the service is, beside what people would use instead, and write docs/performance.md.

    make bench DATA=aclImdb_v1.tar.gz
    .venv/bin/python -m benchmarks.serving peers limits --data aclImdb_v1.tar.gz

Parts: peers (all servers under closed and open loop), limits (engine alone, no engine, other runtimes, arithmetic),
lengths (short texts among long ones), overload, soak, startup. A stopped run goes on where it was: what was measured of
the same code is kept under --out; --refresh measures it again. Nothing else should run on the machine meanwhile: each
line says how much of the cores others took.
"""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.marked_page import fill
from benchmarks.serving import acceptance, comparison, lengths, overload, page, pictures, soak, startup
from benchmarks.serving.limits import measuring as limits
from benchmarks.serving.services import ROOT
from benchmarks.serving.workbench import Workbench

PARTS: dict[str, Callable[[Workbench], dict[str, Any]]] = {
    "startup": startup.run,
    "limits": limits.run,
    "peers": comparison.run,
    "lengths": lengths.run,
    "overload": overload.run,
    "soak": soak.run,
}


def main() -> None:
    """Measure, print, write."""
    given = _arguments()
    bench = Workbench(given.data, given.out, quick=given.quick, soak=given.soak, refresh=given.refresh)
    started, figures = time.monotonic(), {}
    for name in given.parts or PARTS:
        print(f"[{(time.monotonic() - started) / 60:4.1f} min] {name}", flush=True)
        figures[name] = PARTS[name](bench)
    print(f"[{(time.monotonic() - started) / 60:4.1f} min] done\n", flush=True)
    parts = page.parts(figures)
    for part in parts.values():
        print(part, end="\n\n")
    found = acceptance.lines(figures)
    print(*found, sep="\n")
    if not given.quick and not given.no_page:
        if given.parts:
            parts.pop("targets", None)  # of a whole run only
        fill(ROOT / "docs" / "performance.md", parts)
        pictures.write(ROOT / "docs" / pictures.FOLDER, figures)
        print(f"Wrote {Path('docs') / 'performance.md'}.")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; none: all")
    parser.add_argument("--data", type=Path, required=True, help="the IMDB archive or folder")
    parser.add_argument(
        "--out", type=Path, default=Path("runs/serving"), help="where records and environments are kept"
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the time, to try it; writes no page")
    parser.add_argument("--soak", type=int, default=200_000, metavar="REQUESTS")
    parser.add_argument("--refresh", action="store_true", help="measure again what is known")
    parser.add_argument("--no-page", action="store_true", help="print alone")
    given = parser.parse_args()
    unknown = [part for part in given.parts if part not in PARTS]
    if unknown:
        parser.error(f"expected parts of {', '.join(PARTS)}. Received {', '.join(unknown)}")
    return given


if __name__ == "__main__":
    main()
