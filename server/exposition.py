"""What is read when Prometheus asks, and how it is shown; names as in `telemetry`."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

log = logging.getLogger(__name__)

_BATCHES = (1, 2, 4, 8, 16, 32, 64)
"""Upper bounds of the histogram of batches, in images."""


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldModel:
    """One loaded model."""

    model: str
    version: str
    provider: str
    precision: str
    """That onnxruntime really runs it on."""
    bytes: int
    """Of its weights."""
    images: int
    """That cost compute."""
    batches: int
    """They ran in."""
    sizes: Mapping[int, int]
    """How many batches had so many images."""
    dropped: int
    """That did not, because nobody waited for them any more."""


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
    result_bytes: int | None = None
    """Of results remembered."""
    held: Sequence[HeldModel] | None = None
    """Models that are loaded."""
    failed_loads: int | None = None
    """Of model versions, since the start."""
    models: Mapping[str, bool] | None = None
    """By alias: whether the version it names is the one that answers."""


class Watched(Collector):
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
    if readings.result_bytes is not None:
        yield GaugeMetricFamily("detco_feature_cached_bytes", "Bytes of results remembered.", readings.result_bytes)
    if readings.failed_loads is not None:
        text = "Loads of model versions that failed: /readyz/features and the log say why."
        yield CounterMetricFamily("detco_model_failed_loads", text, readings.failed_loads)
    if readings.held is not None:
        yield from _of_models(readings.held)
    if readings.models is not None:
        family = GaugeMetricFamily(
            "detco_alias_served", "Whether the version an alias names answers.", labels=("alias",)
        )
        for alias, served in sorted(readings.models.items()):
            family.add_metric([alias], served)
        yield family


def _of_models(held: Sequence[HeldModel]) -> Iterator[Metric]:
    loaded = GaugeMetricFamily(
        "detco_model_loaded",
        "Loaded models, what they run on and what they compute in.",
        labels=("model", "version", "provider", "precision"),
    )
    labels = ("model", "version")
    size = GaugeMetricFamily("detco_model_bytes", "Weights held of a loaded model.", labels=labels)
    images = CounterMetricFamily("detco_model_images", "Images a loaded model has computed.", labels=labels)
    batches = CounterMetricFamily("detco_model_batches", "Batches they ran in.", labels=labels)
    sizes = HistogramMetricFamily("detco_model_batch_images", "Images of a batch, by loaded model.", labels=labels)
    dropped = CounterMetricFamily(
        "detco_model_dropped", "Images not computed: their callers had left, or their time was over.", labels=labels
    )
    for model in sorted(held, key=lambda model: (model.model, model.version)):
        key = [model.model, model.version]
        loaded.add_metric([*key, model.provider, model.precision], 1)
        size.add_metric(key, model.bytes)
        images.add_metric(key, model.images)
        batches.add_metric(key, model.batches)
        sizes.add_metric(key, *_histogram(model.sizes))
        dropped.add_metric(key, model.dropped)
    yield from (loaded, size, images, batches, sizes, dropped)


def _histogram(sizes: Mapping[int, int]) -> tuple[list[tuple[str, float]], float]:
    """Buckets, each with those of the smaller ones, and the sum of all."""
    buckets = [(f"{most:.1f}", sum(count for size, count in sizes.items() if size <= most)) for most in _BATCHES]
    everything = sum(size * count for size, count in sizes.items())
    return [*((edge, float(count)) for edge, count in buckets), ("+Inf", float(sum(sizes.values())))], everything
