"""Prometheus metrics, shown by `GET /metrics`. No label and no value holds anything of a review."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.gc_collector import GCCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from models.tokenizer import Encoding

if TYPE_CHECKING:
    from service.inference.registry import Registry

M = TypeVar("M", Counter, Histogram)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class Metrics:
    """The metrics of one app. Each app has its own registry, so that several may live in a process."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self.requests = Counter("heed_requests", "Answers given.", ["route", "method", "status"], registry=registry)
        self.request_seconds = Histogram(
            "heed_request_seconds", "Time to answer.", ["route"], buckets=_SECONDS, registry=registry
        )
        self.in_flight = 0
        """Requests being answered now; changed in the event loop alone, so without a lock."""
        in_flight = Gauge("heed_requests_in_flight", "Requests being answered now.", registry=registry)
        in_flight.set_function(lambda: self.in_flight)
        self.texts = Counter("heed_texts", "Texts classified.", ["model"], registry=registry)
        self.tokens = Counter("heed_tokens", "Tokens read.", ["model"], registry=registry)
        self.unknown_tokens = Counter(
            "heed_unknown_tokens", "Tokens read that the vocabulary does not hold.", ["model"], registry=registry
        )
        self.truncated_texts = Counter("heed_truncated_texts", "Texts not read whole.", ["model"], registry=registry)
        self.stage_seconds = Histogram(
            "heed_stage_seconds",
            "Time that a request spent in a stage: tokenize, queue, compute.",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )

    def show_models(self, models: "Registry") -> None:
        """Add metrics of the loaded models, read at every scrape."""
        self.registry.register(_LoadedModels(models))

    def count(self, model: str, encodings: Sequence[Encoding]) -> None:
        """Count the texts of one answered request."""
        _labelled(self.texts, model).inc(len(encodings))
        _labelled(self.tokens, model).inc(sum(len(each.ids) for each in encodings))
        _labelled(self.unknown_tokens, model).inc(sum(each.unknown for each in encodings))
        _labelled(self.truncated_texts, model).inc(sum(each.tokens_total > len(each.ids) for each in encodings))

    def count_answer(self, route: str, method: str, status: int) -> None:
        """Count one answer: `route` is the template of its path, and `method` one of a closed set."""
        _labelled(self.requests, route, method, str(status)).inc()

    def observe(self, route: str, seconds: float, stages: Mapping[str, float]) -> None:
        """Add the time that an answer took, and the seconds that it spent in each stage."""
        _labelled(self.request_seconds, route).observe(seconds)
        for stage, spent in stages.items():
            _labelled(self.stage_seconds, stage).observe(spent)

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)


@lru_cache(maxsize=4096)
def _labelled(metric: M, *labels: str) -> M:
    """Return a metric with its labels set: looking them up takes as long as counting. Their values are few."""
    return metric.labels(*labels)


class _LoadedModels(Collector):
    """Reads the registry when Prometheus asks, so that a reloaded model needs no bookkeeping here."""

    def __init__(self, models: "Registry") -> None:
        self._models = models

    def collect(self) -> Iterable[Metric]:
        ready = GaugeMetricFamily("heed_ready", "1 where predictions are answered, 0 where not.")
        ready.add_metric([], float(self._models.ready))
        refused = GaugeMetricFamily("heed_bundles_refused", "Bundles in models_dir that are not served.")
        refused.add_metric([], len(self._models.refused))
        loaded = GaugeMetricFamily("heed_model_info", "1 for each loaded model.", labels=["model", "version"])
        retraces = CounterMetricFamily(
            "heed_retraces", "Compilations after warm-up; each is a fault.", labels=["model", "version"]
        )
        queued = GaugeMetricFamily(
            "heed_queued_tokens", "Padded tokens admitted and not yet answered.", labels=["model", "version"]
        )
        for name, served in self._models.served.items():
            labels = [name, served.bundle.card.version]
            loaded.add_metric(labels, 1)
            retraces.add_metric(labels, served.engine.facts().get("retraces", 0.0))
            queued.add_metric(labels, served.batcher.queued_tokens)
        return [ready, refused, loaded, retraces, queued]
