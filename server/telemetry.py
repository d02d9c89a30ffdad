"""The numbers the service shows to Prometheus; with `exposition` the one place that knows their names."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from detco_core.contract.errors import ImageError
from server.exposition import Readings, Watched
from server.features.schemas import FeatureReply

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Telemetry:
    """The metrics of one service process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Histogram(
            "detco_http_request_seconds",
            "Time from the first byte of a request to the last of its answer, by route.",
            ("method", "route", "status"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._calls = Histogram(
            "detco_grpc_call_seconds",
            "Time of a call of the Open Inference Protocol over gRPC, by method and status.",
            ("method", "code"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._streams = Gauge("detco_http_streams", "Event streams open now.", registry=self.registry)
        self._refused = Counter(
            "detco_auth_refused", "Requests refused for their token, by code.", ("code",), registry=self.registry
        )

        self._feature_seconds = Histogram(
            "detco_feature_seconds",
            "Time an answered request spent by stage, over all of its images.",
            ("model", "stage"),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._feature_images = Histogram(
            "detco_feature_request_images",
            "Images in an answered request.",
            ("model",),
            buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self.registry,
        )
        self._feature_cached = Counter(
            "detco_feature_cached_images",
            "Images whose features were remembered, not computed.",
            ("model",),
            registry=self.registry,
        )
        self._feature_errors = Counter(
            "detco_feature_errors",
            "Requests and single images not answered, by cause.",
            ("cause",),
            registry=self.registry,
        )

    def answered(self, reply: FeatureReply) -> None:
        """Note an answered request of the feature path, and the images of it that were not."""
        model, timings = reply.model.model, reply.timings
        for stage in ("decode", "queue", "compute", "encode"):
            self._feature_seconds.labels(model, stage).observe(getattr(timings, stage))
        self._feature_seconds.labels(model, "total").observe(reply.total)
        self._feature_images.labels(model).observe(len(reply.images))
        if reply.cached:
            self._feature_cached.labels(model).inc(reply.cached)
        for image in reply.images:
            if image.error is not None:
                self.not_answered(image.error)

    def not_answered(self, error: Exception) -> None:
        """Note a request, or an image, without an answer."""
        cause = f"image_{error.code}" if isinstance(error, ImageError) else type(error).__name__
        self._feature_errors.labels(cause).inc()

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Note how a request ended; `route` is the path's template, so that the labels stay few."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def called(self, method: str, code: str, seconds: float) -> None:
        """Note how a call over gRPC ended."""
        self._calls.labels(method, code).observe(seconds)

    def refused(self, code: str) -> None:
        """Note a request turned away at the door."""
        self._refused.labels(code).inc()

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Count one open event stream for as long as the block runs."""
        with self._streams.track_inprogress():
            yield

    def watch(self, read: Callable[[], Readings]) -> None:
        """Show what `read` gives at each scrape; while it fails, its metrics are left out."""
        self.registry.register(Watched(read))

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)
