"""A peer's server, for as long as it is measured."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.serving.peers.environments import environment
from benchmarks.serving.peers.roster import Peer
from benchmarks.serving.services import ROOT, Running, answers_get, free_port, running


@contextmanager
def running_peer(peer: Peer, variant: str, environments: Path) -> Iterator[Running]:
    """Start a peer with one of its variants and wait until it is ready.

    Raises:
        RuntimeError: it does not get ready.
    """
    port = free_port()
    programs = environment(peer, environments)
    program, *arguments = (part.format(port=port) for part in peer.command)
    settings = {
        "PYTHONPATH": str(ROOT),
        "RAY_USAGE_STATS_ENABLED": "0",
        "BENTOML_DO_NOT_TRACK": "True",
        **peer.variants[variant],
    }
    with running([programs / program, *arguments], port, answers_get(peer.ready), settings) as service:
        yield service
