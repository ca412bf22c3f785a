"""Counts requests, their latency and what the index holds, for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from grpc import StatusCode
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import GaugeMetricFamily

from similarity.live_index import LiveStatus

IndexStatus = Callable[[], LiveStatus]
PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics:
    """The numbers of one server.

    Args:
        status: tells what the index is now; None: there is none, as in a router.
        in_flight: tells how many requests are being answered.
    """

    def __init__(self, status: IndexStatus | None, in_flight: Callable[[], int]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        labels = ("method", "protocol")
        self._seconds = Histogram(
            "aisle_similarity_request_seconds", "Time a request took.", labels, buckets=_BUCKETS_S, registry=self.registry
        )
        self._requests = Counter("aisle_similarity_requests", "Requests answered.", (*labels, "status"), registry=self.registry)
        Gauge("aisle_similarity_in_flight", "Requests being answered.", registry=self.registry).set_function(in_flight)
        ProcessCollector(registry=self.registry)
        if status is not None:
            self.registry.register(_IndexNumbers(status))

    def observe(self, fields: Mapping[str, str], code: StatusCode, seconds: float) -> None:
        """Counts one answered request."""
        labels = (fields["api"], fields["protocol"])
        self._seconds.labels(*labels).observe(seconds)
        self._requests.labels(*labels, code.name).inc()

    def page(self) -> bytes:
        """Returns all of them in Prometheus' text format."""
        return generate_latest(self.registry)


class _IndexNumbers:
    """What the index is, at the moment it is looked at."""

    def __init__(self, status: IndexStatus) -> None:
        self._status = status

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yields what the index is at this moment."""
        found = self._status()
        rows = (
            ("version", "Of index and model.", found.manifest.version),
            ("products", "That can be found.", found.num_products),
            ("recent", "Changed products that aren't in the built index yet.", found.num_recent),
            ("gone", "Products of the built index that are deleted or replaced.", found.num_gone),
            ("log_bytes", "Of the changes that aren't in the built index yet.", found.log_bytes),
            ("sequence", "Number of the last change.", found.sequence),
            ("failed", "1 where the last compaction or write failed.", bool(found.last_error)),
        )
        for name, says, value in rows:
            yield GaugeMetricFamily(f"aisle_similarity_index_{name}", says, float(value))
