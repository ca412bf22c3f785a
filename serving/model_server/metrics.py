"""Counts requests and their latency under TensorFlow Serving's metric names, for Prometheus."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping

from grpc import StatusCode
from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector, disable_created_metrics, generate_latest
from prometheus_client.core import Metric

PATH = "/monitoring/prometheus/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX = ":tensorflow:serving:"
_LATENCY_BUCKETS_MICROS = tuple(round(10 * 1.8**power, 1) for power in range(0, 33))
_ROW_BUCKETS = tuple(2**power for power in range(15))


class Metrics:
    """The numbers of one server.

    Args:
        served: tells the available versions of each model.
        in_flight: tells how many requests are being answered.
    """

    def __init__(self, served: Callable[[], Mapping[str, list[int]]], in_flight: Callable[[], int]) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._served = served
        self._latency = Histogram(
            f"{_PREFIX}request_latency",
            "Time a request took in the server, in microseconds.",
            ("model_name", "API", "entrypoint"),
            buckets=_LATENCY_BUCKETS_MICROS,
            registry=self.registry,
        )
        self._batches = Histogram("aisle_serving_batch_rows", "Rows of one call.", buckets=_ROW_BUCKETS, registry=self.registry)
        self._lock = threading.Lock()
        self._counts: dict[tuple[str, str], int] = {}
        Gauge("aisle_serving_in_flight", "Requests being answered.", registry=self.registry).set_function(in_flight)
        ProcessCollector(registry=self.registry)
        self.registry.register(self)

    def observe_request(self, fields: Mapping[str, str], code: StatusCode, seconds: float) -> None:
        """Counts one answered request. A name that isn't a model's is counted as no name: clients must not fill the memory."""
        name = fields.get("model", "")
        known = name if name in self._served() else ""
        key = (known, code.name)
        with self._lock:
            self._counts[key] = self._counts.get(key, 0) + 1
        self._latency.labels(known, fields["api"], fields["protocol"].upper()).observe(seconds * 1e6)

    def observe_batch(self, num_rows: int) -> None:
        """Counts one call of several requests."""
        self._batches.observe(num_rows)

    def collect(self) -> Iterator[Metric]:
        """Yields what Prometheus' client library has no type for: counters without the suffix that it insists on."""
        counts = Metric(f"{_PREFIX}request_count", "Requests answered, by model and status.", "unknown")
        for (model_name, status), count in list(self._counts.items()):
            counts.add_sample(counts.name, {"model_name": model_name, "status": status}, count)
        yield counts
        versions = Metric("aisle_serving_model_available", "1 for every version that is available.", "gauge")
        for name, available in self._served().items():
            for version in available:
                versions.add_sample(versions.name, {"model_name": name, "version": str(version)}, 1)
        yield versions

    def page(self) -> bytes:
        """Returns all of them in Prometheus' text format."""
        return generate_latest(self.registry)
