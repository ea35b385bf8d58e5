"""Part "peers": requests per second, latency, cost and answers of Heed and its peers."""

from functools import partial
from typing import Any

from benchmarks.serving.agreement import condensed, largest_differences
from benchmarks.serving.contenders import Contender, heed, of_peer
from benchmarks.serving.peers.roster import PEERS, Peer
from benchmarks.serving.sessions import Session, report_line
from benchmarks.serving.workbench import Workbench

CONNECTIONS = (1, 8, 64, 256)
AT = "64"
"""Connections at which servers are compared."""
SECONDS = 7
COMPARED_TEXTS = 48


def run(bench: Workbench) -> dict[str, Any]:
    """Return the figures of every contender, and how far their answers are from Heed's."""
    peers = [peer for peer in PEERS if peer.name in bench.peers]
    variants = {peer.name: _fastest_variant(bench, peer) for peer in peers}
    contenders = [heed(bench.environments), *(of_peer(peer, variants[peer.name], bench.environments) for peer in peers)]
    measured = {each.name: bench.kept(each.name, each.subject, partial(_measure, bench, each)) for each in contenders}
    ours = contenders[0].name
    batching = [each.name for each in contenders[1:] if each.batches]
    return {
        "ours": ours,
        "titles": {each.name: each.title for each in contenders},
        "variants": variants,
        "contenders": measured,
        "best_batching": max(batching, key=lambda name: rate(measured[name]), default=None),
        "agreement": {
            name: largest_differences(measured[ours]["answers"], figures["answers"])
            for name, figures in measured.items()
            if name != ours
        },
    }


def rate(figures: dict[str, Any]) -> float:
    """Return the requests per second at 64 connections."""
    return float(figures["closed"][AT]["requests_per_second"])


def _measure(bench: Workbench, contender: Contender) -> dict[str, Any]:
    with contender.start() as running:
        session = Session(contender, running, bench.texts)
        session.warm_up(bench.seconds(4))
        answers = condensed(session.answers(bench.texts[:COMPARED_TEXTS]))
        closed = {}
        for connections in CONNECTIONS:
            closed[str(connections)] = figures = session.closed(connections, bench.seconds(SECONDS))
            print(report_line(f"{contender.title}, {connections} connections", figures), flush=True)
    return {"seconds_until_ready": running.seconds_until_ready, "answers": answers, "closed": closed}


def _fastest_variant(bench: Workbench, peer: Peer) -> str:
    """Return the variant that answers most requests a second at 64 connections."""
    rates = {variant: _variant_rate(bench, peer, variant) for variant in peer.variants}
    return max(rates, key=lambda variant: rates[variant])


def _variant_rate(bench: Workbench, peer: Peer, variant: str) -> float:
    contender = of_peer(peer, variant, bench.environments)

    def measure() -> dict[str, Any]:
        with contender.start() as running:
            session = Session(contender, running, bench.texts)
            session.closed(int(AT), bench.seconds(3))
            figures = session.closed(int(AT), bench.seconds(5))
        print(report_line(f"{peer.title}, {variant}", figures), flush=True)
        return figures

    name = f"variant-{peer.name}-{variant.replace(' ', '-').replace(',', '')}"
    try:
        return float(bench.kept(name, contender.subject, measure)["requests_per_second"])
    except RuntimeError as error:  # this variant does not run here; another may
        print(f"{peer.title}, {variant}: does not run: {error}", flush=True)
        return 0.0
