"""Heed beside its peers, on the same bundle, the same reviews and the same cores: closed loop, open loop, answers."""

from functools import partial
from typing import Any

from benchmarks.serving import tuning
from benchmarks.serving.agreement import condensed, largest_differences
from benchmarks.serving.contenders import Contender, engines, heed, of_peer
from benchmarks.serving.load.arrivals import bursts, poisson
from benchmarks.serving.peers.roster import PEERS
from benchmarks.serving.sessions import Session, report_line
from benchmarks.serving.workbench import Workbench

CONNECTIONS = (1, 8, 64, 256)
AT = "64"
"""The closed loop whose rate is a server's capacity."""
COMPARED_TEXTS = 48
CLOSED_SECONDS, OPEN_SECONDS = 7, 12
BURST_PERIOD, BURST_SECONDS = 5.0, 1.0
OPEN_LOADS = {"poisson": 0.7, "bursts": 0.4, "saturated": 1.0}
"""Shares of a server's own capacity; bursts are three times that."""


def run(bench: Workbench) -> dict[str, Any]:
    """Figures by contender, and what is drawn from several of them."""
    variants = tuning.tuned(bench)
    contenders = [heed(bench.environments, engine) for engine in engines()]
    contenders += [of_peer(peer, variants[peer.name], bench.environments) for peer in PEERS]
    measured = {
        each.name: bench.kept(f"peer-{each.name}", each.subject, partial(_measure, bench, each)) for each in contenders
    }
    batching = [each for each in contenders if each.batches and not each.name.startswith("heed")]
    best = max(batching, key=lambda each: capacity(measured[each.name]))
    rate = capacity(measured[best.name])
    ours = contenders[0]
    return {
        "order": [each.name for each in contenders],
        "titles": {each.name: each.title for each in contenders},
        "variants": variants,
        "contenders": measured,
        "best_batching": best.name,
        "best_rate": rate,
        "heed_at_best_rate": bench.kept(
            "heed-at-the-rate-of-the-best-peer", [ours.subject, round(rate, 3)], lambda: _at_rate(bench, ours, rate)
        ),
        "agreement": {
            name: largest_differences(measured[ours.name]["answers"], figures["answers"])
            for name, figures in measured.items()
            if name != ours.name
        },
    }


def capacity(figures: dict[str, Any]) -> float:
    """Requests a second at 64 connections."""
    return float(figures["closed"][AT]["requests_per_second"])


def _measure(bench: Workbench, contender: Contender) -> dict[str, Any]:
    with contender.start() as running:
        session = Session(contender, running, bench.texts)
        session.warm_up(bench.seconds(4))
        answers = condensed(session.answers(bench.texts[:COMPARED_TEXTS]))
        closed = {}
        for connections in CONNECTIONS:
            closed[str(connections)] = told = session.closed(connections, bench.seconds(CLOSED_SECONDS))
            print(report_line(f"{contender.title}, {connections} connections", told), flush=True)
        figures = {"seconds_until_ready": running.seconds_until_ready, "answers": answers, "closed": closed}
        figures["open"] = _open_loops(bench, session, capacity(figures))
    return figures


def _open_loops(bench: Workbench, session: Session, own_capacity: float) -> dict[str, Any]:
    seconds = bench.seconds(OPEN_SECONDS)
    told = {}
    for name, share in OPEN_LOADS.items():
        rate = share * own_capacity
        if name == "bursts":
            due = bursts(rate, 3 * rate, seconds, period=BURST_PERIOD, burst=BURST_SECONDS, seed=7)
        else:
            due = poisson(rate, seconds, seed=7)
        told[name] = session.open(due, seconds) | {"rate": rate}
        print(report_line(f"{session.contender.title}, {name} at {rate:.0f}/s", told[name]), flush=True)
    return told


def _at_rate(bench: Workbench, contender: Contender, rate: float) -> dict[str, Any]:
    seconds = bench.seconds(OPEN_SECONDS)
    with contender.start() as running:
        session = Session(contender, running, bench.texts)
        session.warm_up(bench.seconds(4))
        told = session.open(poisson(rate, seconds, seed=7), seconds)
    print(report_line(f"{contender.title} at the rate of the best peer, {rate:.0f}/s", told), flush=True)
    return told
