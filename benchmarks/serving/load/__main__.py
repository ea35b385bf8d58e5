"""Send real reviews to a running service, or to one that is started for it, and print how it answered.

    .venv/bin/python -m benchmarks.serving.load --data aclImdb_v1.tar.gz --connections 64 --seconds 10
    .venv/bin/python -m benchmarks.serving.load --data aclImdb_v1.tar.gz --url http://127.0.0.1:8000 --connections 1
    .venv/bin/python -m benchmarks.serving.load --data aclImdb_v1.tar.gz --rate 500 --seconds 30
    .venv/bin/python -m benchmarks.serving.load --cost

Without --url the service of this checkout is started with the HEED_* settings of the environment. --rate is open loop:
Poisson arrivals, latency from the moment that a request was due; for thousands a second take --rest 0.002, too.
--cost: what the generator itself costs a request, against a server that answers everything alike. `generator` is the
share of one core that it took.
"""

import argparse
from pathlib import Path
from typing import Any

from benchmarks.serving.load.arrivals import poisson
from benchmarks.serving.load.cost import cost_per_request
from benchmarks.serving.load.generator import Outcome, closed_loop, open_loop
from benchmarks.serving.load.requests import Target, heed_body
from benchmarks.serving.load.samples import figures
from benchmarks.serving.processes import ProcessTree
from benchmarks.serving.services import BUNDLE, SERVE_PYTHON, running_heed, settle
from benchmarks.serving.texts import load_texts


def main() -> None:
    """Print the figures."""
    given = _arguments()
    if given.cost:
        for connections in given.connections:
            spent = cost_per_request(connections, given.seconds)
            print(f"{connections} connections: the generator spends {1e6 * spent:.0f} microseconds a request")
        return
    texts = load_texts(given.data, given.out)
    if given.url:
        _send(given, given.url, None, texts)
        return
    with running_heed(given.python, given.bundle) as service:
        print(f"ready after {service.seconds_until_ready:.1f} s", flush=True)
        settle(service.tree)
        _send(given, service.url, service.tree, texts)


def _send(given: argparse.Namespace, url: str, tree: ProcessTree | None, texts: list[str]) -> None:
    target = Target.at(url, "/predict", heed_body)
    requests = target.requests(texts)
    if given.warm_up:
        closed_loop(target, requests, connections=max(given.connections), seconds=given.warm_up)
    for _ in range(given.rounds):
        if given.rate is not None:
            _measure(tree, f"{given.rate:g}/s", target, requests, given.rate, given)
            continue
        for connections in given.connections:
            _measure(tree, f"{connections} connections", target, requests, connections, given)


def _measure(
    tree: ProcessTree | None,
    name: str,
    target: Target,
    requests: list[bytes],
    load: int | float,
    given: argparse.Namespace,
) -> None:
    seconds = given.seconds
    before = tree.usage() if tree else None
    if isinstance(load, int):
        outcome = closed_loop(target, requests, connections=load, seconds=seconds)
    else:
        outcome = open_loop(target, requests, poisson(load, seconds, seed=1), seconds=seconds, rest=given.rest)
    line = f"{name}: {_line(figures(outcome.samples, outcome.seconds), outcome)}"
    if tree and before:
        after = tree.usage()
        spent = (after.cpu_seconds - before.cpu_seconds) / seconds
        line += f", server {spent:.0%} of a core, {after.megabytes:.0f} MB"
    print(line, flush=True)


def _line(told: dict[str, Any], outcome: Outcome) -> str:
    statuses = " ".join(f"{status}: {count}" for status, count in told["statuses"].items())
    return (
        f"{told['requests_per_second']:.0f} requests/s, p50 {told['p50_ms']:.2f} ms, p99 {told['p99_ms']:.2f} ms, "
        f"p99.9 {told['p99.9_ms']:.2f} ms, {statuses}, generator {outcome.own_cpu_seconds / outcome.seconds:.0%}"
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="the IMDB archive or folder")
    parser.add_argument("--out", type=Path, default=Path("runs/serving"), help="where the chosen reviews are kept")
    parser.add_argument("--url", help="of a running service; without it, one is started")
    parser.add_argument("--python", type=Path, default=SERVE_PYTHON, help="of the environment to start it in")
    parser.add_argument("--bundle", type=Path, default=BUNDLE, help="the only one that it serves")
    parser.add_argument("--connections", type=int, nargs="+", default=[64])
    parser.add_argument("--rate", type=float, help="requests a second in open loop")
    parser.add_argument(
        "--rest",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="of sleep between two looks at what came in, with --rate",
    )
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--warm-up", type=float, default=3.0, metavar="SECONDS")
    parser.add_argument("--cost", action="store_true", help="measure the generator, not a service")
    given = parser.parse_args()
    if given.data is None and not given.cost:
        parser.error("--data: say where the IMDB archive is")
    return given


if __name__ == "__main__":
    main()
