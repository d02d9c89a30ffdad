"""Models of a few kilobytes, an engine around them, and pictures."""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from detco_core.inference.sessions.execution import Execution
from detco_core.inference.tiny import write_tiny_bundle
from server.features.engine import FeatureEngine
from server.features.limits import EngineLimits
from server.features.models.catalog import FolderCatalog
from server.features.models.loaded import Loaded
from server.features.models.serving import Models
from server.features.models.serving_options import ServingOptions
from server.features.options import FeatureOptions
from server.features.schemas import FeatureRequest, Format, ImagePart
from tests.waiting import wait_until

EXECUTION = Execution(providers=("CPUExecutionProvider",), threads=1)


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three bundles with different weights."""
    folders = [tmp_path_factory.mktemp("bundles") / str(seed) for seed in range(3)]
    for seed, folder in enumerate(folders):
        write_tiny_bundle(folder, seed=seed)
    return folders


@pytest.fixture
def catalog(bundles: list[Path]) -> FolderCatalog:
    """`tiny` with three versions; `tiny@production` is the first."""
    catalog = FolderCatalog()
    versions = [catalog.add("tiny", number, bundle) for number, bundle in enumerate(bundles, start=1)]
    catalog.aliases["tiny@production"] = versions[0]
    return catalog


@pytest.fixture
def open_models(catalog: FolderCatalog, tmp_path: Path) -> Iterator[Callable[..., Models]]:
    """Starts `Models` over the catalogue; closed at the end."""
    opened: list[Models] = []

    def start(**options: Any) -> Models:
        models = Models(catalog, serving(tmp_path, options))
        opened.append(models)
        models.start()
        return models

    yield start
    for models in opened:
        models.close()


@pytest.fixture
def open_engine(catalog: FolderCatalog, tmp_path: Path) -> Callable[..., Any]:
    """An engine that runs for as long as the `async with` block does."""

    @asynccontextmanager
    async def running(limits: EngineLimits | None = None, **options: Any) -> AsyncIterator[FeatureEngine]:
        engine = FeatureEngine(Models(catalog, serving(tmp_path, options)), limits or EngineLimits())
        engine.start()
        try:
            await asyncio.to_thread(wait_until, lambda: engine.models.settled)
            yield engine
        finally:
            await asyncio.to_thread(engine.close)

    return running


def serving(root: Path, options: dict[str, Any]) -> ServingOptions:
    given: dict[str, Any] = {"folder": root / "serving", "execution": EXECUTION, "poll_seconds": 0.02} | options
    return ServingOptions(**given)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    return wait_until


@pytest.fixture(scope="session")
def jpeg() -> Callable[..., bytes]:
    """A JPEG with structure; the same for the same arguments."""

    def make(width: int = 70, height: int = 50, seed: int = 0) -> bytes:
        pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "JPEG")
        return file.getvalue()

    return make


@pytest.fixture(scope="session")
def request_of() -> Callable[..., FeatureRequest]:
    """A request with these images; the rest are options."""

    def make(*images: bytes, max_values: int | None = None, **options: Any) -> FeatureRequest:
        return FeatureRequest(tuple(map(ImagePart, images)), FeatureOptions(**options), Format(max_values))

    return make


@pytest.fixture
def stopped() -> Callable[[FeatureEngine], Any]:
    """Nothing is decoded or computed by the engine's only model for as long as the `async with` block runs."""

    @asynccontextmanager
    async def stop(engine: FeatureEngine) -> AsyncIterator[Loaded]:
        (loaded,) = engine.models.loaded()
        for _ in range(engine.models.options.ahead):
            await loaded.ahead.acquire()
        try:
            yield loaded
        finally:
            for _ in range(engine.models.options.ahead):
                loaded.ahead.release()

    return stop
