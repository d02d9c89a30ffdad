"""Builds the feature engine that the settings describe."""

import os

from sqlalchemy import Engine

from control.settings import Settings
from control.storage.base import Store
from detco_core.inference.images import Limits
from detco_core.inference.session import Execution
from server.features.engine import FeatureEngine, Listener
from server.features.job import EngineLimits
from server.features.models import Models, ServingOptions
from server.features.records import RecordsCatalog

_MOST_DECODERS = 8


def open_features(settings: Settings, engine: Engine, store: Store, listener: Listener) -> FeatureEngine:
    """The engine of one server process; call its `start`, and `close` at the end."""
    decoders = min(_MOST_DECODERS, max(2, len(os.sched_getaffinity(0))))
    options = ServingOptions(
        folder=settings.data_dir / "serving",
        default_model=settings.default_model,
        max_loaded=settings.max_loaded_models,
        ahead=decoders + 1,
        execution=Execution(threads=settings.serve_threads, gpu_memory=settings.serve_gpu_memory),
    )
    limits = EngineLimits(
        image=Limits(bytes=settings.max_request_bytes, pixels=settings.max_image_pixels),
        images=settings.max_images,
        boxes=settings.max_boxes,
        under_way=max(settings.max_images_under_way, settings.max_images),
        decoders=decoders,
    )
    return FeatureEngine(Models(RecordsCatalog(engine, store), options), limits, listener)
