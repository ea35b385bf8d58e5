"""Measure time and peak memory of the attention layers and of the layers they come from.

    .venv/bin/python -m benchmarks.layers --make-env /tmp/originals
    /tmp/originals/bin/python -m benchmarks.layers --lengths 128 512 2048 --json figures.json

The originals need their own environment, because they install a package called `tests`, and PyTorch. Start it in this
folder, from which our layers are imported. Both layers of a pair run alternately in one process; times are medians.
Memory is the peak of a fresh process above that of a short call. TensorFlow runs as a graph without XLA, PyTorch
eagerly in inference mode. Run nothing else on the machine meanwhile.
"""

import argparse
import json
import os
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PACKAGES = ("keras-self-attention==0.51.0", "keras-multi-head==0.29.0", "tensorflow-cpu>=2.21,<2.22", "torch==2.13.0")
LENGTHS = (128, 256, 512, 1024, 2048, 4096)
TIMEOUT_SECONDS = 900.0
# (pair, tokens, at most this share of the time of the original, at most this share of its memory)
TARGETS = (("seq_additive_15", 2048, 1 / 10, 1 / 20), ("seq_additive", 2048, 1.2, 1 / 4))


def make_environment(folder: Path) -> None:
    """Make an environment with the originals."""
    venv.create(folder, with_pip=True)
    subprocess.run([folder / "bin" / "python", "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    print(f"now run: {folder / 'bin' / 'python'} -m benchmarks.layers")


def measured(what: str, pair: str, tokens: int, sides: tuple[str, ...], given: argparse.Namespace) -> dict[str, float]:
    """Return the figures from a fresh process, without those of a side that ran out of memory or time."""
    asked = {
        "what": what,
        "pair": pair,
        "tokens": tokens,
        "sides": sides,
        "sizes": (given.batch, given.features, given.units, given.heads),
        "repeats": given.repeats,
        "limit_gb": given.limit_gb,
    }
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": ""}
    command = [sys.executable, "-m", "benchmarks.layer_pairs", json.dumps(asked)]
    try:
        result = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired:
        return {}
    if result.returncode == 0:
        return json.loads(result.stdout.splitlines()[-1])
    said = result.stderr.strip()
    if result.returncode > 0 and not any(word in said for word in ("OOM", "Allocat", "alloc", "MemoryError")):
        raise SystemExit(f"{pair} failed at {tokens} tokens:\n{said[-2000:]}")
    return {}


def compared(pair: str, tokens: int, given: argparse.Namespace) -> dict[str, Any]:
    """Return a row of the table: seconds and megabytes of both sides; None if memory did not suffice."""
    memory = {side: measured("memory", pair, tokens, (side,), given).get(side) for side in ("ours", "original")}
    through = tuple(side for side, found in memory.items() if found is not None)
    times = measured("time", pair, tokens, through, given) if through else {}
    if not times and "ours" in through:  # both together did not fit into memory
        times = measured("time", pair, tokens, ("ours",), given)
    return {
        "pair": pair,
        "tokens": tokens,
        **{f"{side}_mb": memory[side] for side in memory},
        **{f"{side}_seconds": times.get(side) for side in memory},
    }


def share(row: dict[str, Any], unit: str) -> float | None:
    """Return ours over the original."""
    ours, original = row[f"ours_{unit}"], row[f"original_{unit}"]
    # A small layer may not raise the peak at all: count a tenth of a megabyte.
    least = 0.1 if unit == "mb" else 0.0
    return None if ours is None or original is None else max(ours, least) / max(original, least)


def line(row: dict[str, Any]) -> str:
    """Format a row of the table, in milliseconds and megabytes."""

    def cell(value: float | None, factor: float = 1.0) -> str:
        return "too big" if value is None else f"{value * factor:.3g}"

    def ratio(value: float | None) -> str:
        return "" if value is None else f"{value:.2f}"

    cells = [cell(row["ours_seconds"], 1e3), cell(row["original_seconds"], 1e3), ratio(share(row, "seconds"))]
    cells += [cell(row["ours_mb"]), cell(row["original_mb"]), ratio(share(row, "mb"))]
    return f"{row['pair']:22s} {row['tokens']:>6d} " + " ".join(f"{each:>9s}" for each in cells)


def judged(rows: list[dict[str, Any]]) -> list[str]:
    """Return whether the targets are met, and which layers are slower than their original."""
    verdicts = []
    for pair, tokens, most_time, most_memory in TARGETS:
        for row in rows:
            time_share, memory_share = share(row, "seconds"), share(row, "mb")
            if (row["pair"], row["tokens"]) == (pair, tokens) and time_share and memory_share:
                met = time_share <= most_time and memory_share <= most_memory
                verdicts.append(
                    f"{pair} at {tokens}: {time_share:.3f} of the time (at most {most_time:.3f}), {memory_share:.3f} "
                    f"of the memory (at most {most_memory:.3f}): {'met' if met else 'MISSED'}"
                )
    slower = [f"{row['pair']} at {row['tokens']}" for row in rows if (share(row, "seconds") or 0) > 1.1]
    return [*verdicts, "slower than the original by more than a tenth: " + (", ".join(slower) or "none")]


def main() -> None:
    """Print the table, then whether the targets are met."""
    from benchmarks.layer_pairs import PAIRS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--make-env", type=Path, metavar="DIR", help="only make the environment with the originals")
    parser.add_argument("--lengths", type=int, nargs="+", default=LENGTHS)
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=tuple(PAIRS))
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--units", type=int, default=32)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--limit-gb", type=float, default=16.0, help="memory limit of a process")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    given = parser.parse_args()
    if given.make_env:
        make_environment(given.make_env)
        return

    for name in given.pairs:
        pair = PAIRS[name]
        print(f"{name:22s} {pair.our_name} beside {pair.original_name} ({pair.original_is})")
    print(f"batch {given.batch}, features {given.features}, units {given.units}, heads {given.heads}; ms and MB\n")
    print(
        f"{'pair':22s} {'tokens':>6s} "
        + " ".join(f"{each:>9s}" for each in ("ours ms", "original", "ratio", "ours MB", "original", "ratio"))
    )
    rows = []
    for name in given.pairs:
        for tokens in given.lengths:
            rows.append(compared(name, tokens, given))
            print(line(rows[-1]), flush=True)
            if given.json:
                settings = {key: value for key, value in vars(given).items() if key not in ("json", "make_env")}
                given.json.write_text(json.dumps({"settings": settings, "rows": rows}, indent=1) + "\n")
    print("\n" + "\n".join(judged(rows)))


if __name__ == "__main__":
    main()
