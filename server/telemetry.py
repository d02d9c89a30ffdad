"""The numbers the service shows to Prometheus; the one place that knows their names."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from server.features.schemas import FeatureReply

log = logging.getLogger(__name__)

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Readings:
    """Numbers read at a scrape; None for what this process does not have."""

    jobs: Mapping[tuple[str, str], int] | None = None
    """By kind and state."""
    slots: Mapping[tuple[str, str], int] | None = None
    """By purpose, and `free` or `taken`."""
    damaged: int | None = None
    """Artifacts that a reader found lost or damaged."""
    images: int | None = None
    """Under way in the feature path."""
    images_refused: int | None = None
    """Requests turned away because the feature path was full, since the start."""
    reply_bytes: int | None = None
    """Of answers not sent yet."""
    providers: Mapping[tuple[str, str], str] | None = None
    """By model and version that are loaded: what onnxruntime really runs them on."""
    model_bytes: Mapping[tuple[str, str], int] | None = None
    """By model and version: bytes of weights held."""
    models: Mapping[str, bool] | None = None
    """By alias: whether the version it names is the one that answers."""


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
        for image in reply.images:
            if image.error is not None:
                self.not_answered(image.error)

    def not_answered(self, error: Exception) -> None:
        """Note a request, or an image, without an answer."""
        code = getattr(error, "code", None)
        self._feature_errors.labels(f"image_{code}" if code else type(error).__name__).inc()

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
        self.registry.register(_Watched(read))

    def exposition(self) -> bytes:
        """All metrics in Prometheus' text format."""
        return generate_latest(self.registry)


class _Watched(Collector):
    """Reads numbers when Prometheus asks."""

    def __init__(self, read: Callable[[], Readings]) -> None:
        self._read = read

    def describe(self) -> Iterable[Metric]:
        return []

    def collect(self) -> Iterable[Metric]:
        try:
            readings = self._read()
        except Exception as error:  # noqa: BLE001 - a scrape must show the rest, whatever is away
            log.warning("some metrics cannot be read: %s", error)
            return
        yield from _families(readings)


def _families(readings: Readings) -> Iterator[Metric]:
    for name, text, labels, counts in (
        ("detco_jobs", "Jobs by kind and state.", ("kind", "state"), readings.jobs),
        ("detco_slots", "Slots by purpose and use.", ("purpose", "use"), readings.slots),
    ):
        if counts is not None:
            family = GaugeMetricFamily(name, text, labels=labels)
            for values, count in sorted(counts.items()):
                family.add_metric(values, count)
            yield family
    if readings.damaged is not None:
        text = "Artifacts that a reader found lost or damaged: see GET /v1/store."
        yield GaugeMetricFamily("detco_store_damaged", text, readings.damaged)
    if readings.images is not None:
        yield GaugeMetricFamily("detco_feature_images", "Images under way in the feature path.", readings.images)
    if readings.images_refused is not None:
        text = "Requests turned away because the feature path was full."
        yield CounterMetricFamily("detco_feature_refused", text, readings.images_refused)
    if readings.reply_bytes is not None:
        yield GaugeMetricFamily("detco_feature_reply_bytes", "Bytes of answers not sent yet.", readings.reply_bytes)
    if readings.providers is not None:
        family = GaugeMetricFamily(
            "detco_model_loaded", "Loaded models and what they run on.", labels=("model", "version", "provider")
        )
        for (model, version), provider in sorted(readings.providers.items()):
            family.add_metric([model, version, provider], 1)
        yield family
    if readings.model_bytes is not None:
        family = GaugeMetricFamily("detco_model_bytes", "Weights held of loaded models.", labels=("model", "version"))
        for key, size in sorted(readings.model_bytes.items()):
            family.add_metric(key, size)
        yield family
    if readings.models is not None:
        family = GaugeMetricFamily(
            "detco_alias_served", "Whether the version an alias names answers.", labels=("alias",)
        )
        for alias, served in sorted(readings.models.items()):
            family.add_metric([alias], served)
        yield family
