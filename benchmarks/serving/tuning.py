"""Which variant of each peer is fastest at 64 connections: the one that stands for it."""

from typing import Any

from benchmarks.serving.contenders import of_peer
from benchmarks.serving.peers.roster import PEERS, Peer
from benchmarks.serving.sessions import Session, report_line
from benchmarks.serving.workbench import Workbench

CONNECTIONS = 64


def tuned(bench: Workbench) -> dict[str, str]:
    """Of each peer, by name, the variant that answers most requests a second."""
    best = {}
    for peer in PEERS:
        rates = {variant: _rate(bench, peer, variant) for variant in peer.variants}
        best[peer.name] = max(rates, key=lambda variant: rates[variant])
    return best


def rates(bench: Workbench) -> dict[str, dict[str, float]]:
    """Requests a second of every peer and variant."""
    return {peer.name: {variant: _rate(bench, peer, variant) for variant in peer.variants} for peer in PEERS}


def _rate(bench: Workbench, peer: Peer, variant: str) -> float:
    contender = of_peer(peer, variant, bench.environments)

    def measure() -> dict[str, Any]:
        with contender.start() as running:
            session = Session(contender, running, bench.texts)
            session.closed(CONNECTIONS, bench.seconds(3))
            told = session.closed(CONNECTIONS, bench.seconds(5))
        print(report_line(f"{peer.title}, {variant}", told), flush=True)
        return told

    name = f"tune-{peer.name}-{variant.replace(' ', '-').replace(',', '')}"
    try:
        return float(bench.kept(name, contender.subject, measure)["requests_per_second"])
    except RuntimeError as error:  # a variant that does not run here is none to choose
        print(f"{peer.title}, {variant}: does not run: {error}", flush=True)
        return 0.0
