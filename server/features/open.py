"""Builds the feature engine that the settings describe."""

import logging
import os

from sqlalchemy import Engine

from control.settings import Settings
from control.storage.base import Store
from detco_core.inference.pictures.images import Limits
from detco_core.inference.sessions.allocator import share_one_heap
from detco_core.inference.sessions.execution import CPU, CUDA, TENSORRT, Execution, available_providers
from server.features.engine import FeatureEngine, Listener
from server.features.limits import EngineLimits
from server.features.models.records import RecordsCatalog
from server.features.models.serving import Models
from server.features.models.serving_options import ServingOptions
from server.features.waiting import Batching

log = logging.getLogger(__name__)

_MOST_DECODERS = 8
_ON_GPU = 8
"""Images in a batch."""


def open_features(settings: Settings, engine: Engine, store: Store, listener: Listener) -> FeatureEngine:
    """The engine of one server process; call its `start`, and `close` at the end."""
    share_one_heap()
    decoders = min(_MOST_DECODERS, max(2, len(os.sched_getaffinity(0))))
    execution = _execution(settings)
    batching = _batching(settings, execution)
    options = ServingOptions(
        folder=settings.data_dir / "serving",
        default_model=settings.default_model,
        max_loaded=settings.max_loaded_models,
        max_bytes=settings.max_model_bytes,
        # While one batch runs and one is brought to the device, the next one is decoded.
        ahead=max(decoders + 1, 3 * batching.images),
        execution=execution,
        batching=batching,
    )
    limits = EngineLimits(
        image=Limits(bytes=settings.max_request_bytes, pixels=settings.max_image_pixels),
        images=settings.max_images,
        boxes=settings.max_boxes,
        under_way=max(settings.max_images_under_way, settings.max_images),
        bulk=settings.max_bulk_images_under_way,
        images_per_token=settings.token_images_under_way,
        pixels_per_token=settings.token_pixels_per_second,
        result_bytes=settings.result_cache_bytes,
        decoders=decoders,
    )
    return FeatureEngine(Models(RecordsCatalog(engine, store), options), limits, listener)


def _execution(settings: Settings) -> Execution:
    providers = {"auto": None, "cpu": (CPU,), "cuda": (CUDA, CPU), "tensorrt": (TENSORRT, CUDA, CPU)}[
        settings.serve_device
    ]
    precision = settings.serve_precision
    if (providers or available_providers())[0] == CPU and precision != "fp32":
        log.warning("models run on the CPU: DETCO_SERVE_PRECISION=%s is for GPUs, they compute in fp32", precision)
        precision = "fp32"
    return Execution(
        providers=providers,
        threads=settings.serve_threads,
        spin_us=settings.serve_spin_us,
        gpu_memory=settings.serve_gpu_memory,
        strict=settings.serve_device in ("cuda", "tensorrt"),
        precision=precision,
        sizes=settings.serve_warm_sizes,
        batch=settings.batch_images or _ON_GPU,
    )


def _batching(settings: Settings, execution: Execution) -> Batching:
    on_gpu = execution.order[0] != CPU
    images = settings.batch_images or (_ON_GPU if on_gpu else 1)
    return Batching(images=images, seconds=settings.batch_wait_ms / 1000)
