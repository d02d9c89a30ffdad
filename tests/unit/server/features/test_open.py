"""The engine that the settings describe."""

from pathlib import Path
from typing import Any

import pytest

from control.db.migrate import upgrade
from control.db.session import open_engine
from control.settings import load_settings
from control.storage.open import open_store
from detco_core.inference.sessions.execution import CPU, CUDA, TENSORRT
from server.features.open import _execution, open_features
from server.features.waiting import Batching
from server.telemetry import Telemetry


def test_settings_reach_the_engine(tmp_path: Path) -> None:
    settings = load_settings(
        data_dir=tmp_path,
        default_model="tiny",
        max_images=7,
        max_images_under_way=3,
        max_image_pixels=1000,
        max_request_bytes=5000,
        max_loaded_models=2,
        serve_threads=1,
        serve_spin_us=30,
    )
    database = open_engine(settings.resolved_database_url)
    upgrade(database)
    engine = open_features(settings, database, open_store(settings), Telemetry())
    assert (engine.limits.images, engine.limits.under_way) == (7, 7)
    assert (engine.limits.image.pixels, engine.limits.image.bytes) == (1000, 5000)
    options = engine.models.options
    assert (options.folder, options.default_model, options.max_loaded) == (tmp_path / "serving", "tiny", 2)
    assert (options.execution.threads, options.execution.gpu_memory) == (1, settings.serve_gpu_memory)
    assert options.execution.spin_us == 30
    engine.close()
    database.dispose()


def test_the_precision_asked_for_is_a_gpus(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def precision(device: str) -> str:
        return _execution(load_settings(data_dir=tmp_path, serve_device=device, serve_precision="fp16")).precision

    assert (precision("cuda"), precision("cpu")) == ("fp16", "fp32")
    assert "DETCO_SERVE_PRECISION=fp16 is for GPUs" in caplog.text
    monkeypatch.setattr("server.features.open.available_providers", lambda: (CUDA, CPU))
    assert precision("auto") == "fp16"


@pytest.mark.parametrize(
    ("device", "providers", "strict"),
    [
        ("auto", None, False),
        ("cpu", (CPU,), False),
        ("cuda", (CUDA, CPU), True),
        ("tensorrt", (TENSORRT, CUDA, CPU), True),
    ],
)
def test_the_device_and_the_batches_asked_for(
    tmp_path: Path, device: Any, providers: tuple[str, ...] | None, strict: bool
) -> None:
    settings = load_settings(
        data_dir=tmp_path, serve_device=device, batch_images=16, batch_wait_ms=5, serve_warm_sizes="9x8"
    )
    database = open_engine(settings.resolved_database_url)
    options = open_features(settings, database, open_store(settings), Telemetry()).models.options
    assert (options.execution.providers, options.execution.strict) == (providers, strict)
    assert options.batching == Batching(images=16, seconds=0.005)
    assert options.ahead >= 48
    assert (options.execution.sizes, options.execution.batch) == (((9, 8),), 16)
    database.dispose()
