"""The numbers the service shows to Prometheus; the one place that knows their names."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Telemetry:
    """The metrics of one service process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._requests = Histogram(
            "detco_http_request_seconds",
            "Time from the first byte of a request to the last of its answer, by route.",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._streams = Gauge("detco_http_streams", "Event streams open now.", registry=self.registry)
        self._refused = Counter(
            "detco_auth_refused", "Requests refused for their token, by code.", ("code",), registry=self.registry
        )

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note how a request ended; `route` is the path's template, so that the labels stay few."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def refused(self, code: str) -> None:
        """Note a request turned away at the door."""
        self._refused.labels(code).inc()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Count one open event stream for as long as the block runs."""
        with self._streams.track_inprogress():
            yield

    def watch_queue(self, read: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        """Show the number of jobs by kind and state, read from the tables at each scrape."""
        self.registry.register(_QueueDepth(read))

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _QueueDepth(Collector):
    """Reads the job counts when Prometheus asks; shows none while the tables cannot be reached."""

    def __init__(self, read: Callable[[], Mapping[tuple[str, str], int]]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return [self._family()]

    def collect(self) -> Iterable[Metric]:
        family = self._family()
        for (kind, state), count in sorted(self._read().items()):
            family.add_metric([kind, state], count)
        return [family]

    @staticmethod
    def _family() -> GaugeMetricFamily:
        return GaugeMetricFamily("detco_jobs", "Jobs by kind and state.", labels=("kind", "state"))
