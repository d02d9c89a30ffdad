"""Nothing of a version stays once another has its place and its last user has let go: no collector is waited for.

That memory is let go at once is CPython's counting of references, as it is for the server.
"""

import asyncio
import gc
import logging
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, suppress
from pathlib import Path
from typing import Any

import pytest

from detco_core.contract.errors import BundleError, ImageError
from detco_core.inference.sessions.binding import Bound
from detco_core.inference.tiny import write_tiny_bundle
from server.features.engine import FeatureEngine
from server.features.errors import FeatureError, ModelUnavailable
from server.features.limits import EngineLimits
from server.features.models import loaded as opening
from server.features.models.catalog import FolderCatalog
from server.features.models.loaded import Loaded
from server.features.models.serving import Models
from server.features.schemas import FeatureRequest

OpenEngine = Callable[..., AbstractAsyncContextManager[FeatureEngine]]
OpenModels = Callable[..., Models]
Until = Callable[[Callable[[], bool]], None]
Jpeg = Callable[..., bytes]
RequestOf = Callable[..., FeatureRequest]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_collections() -> Iterator[None]:
    """What is let go is gone, or a cycle keeps it."""
    gc.collect()
    gc.disable()
    # Records of the log hold what was raised, and pytest holds the records.
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)
    gc.enable()


def parts(loaded: Loaded) -> list["weakref.ref[Any]"]:
    """Of a model: what holds weights, or leads to it."""
    bounds = [loaded.session._whole, *loaded.session._parts.values()]
    found = [loaded, loaded.session, loaded.owner, *bounds, *(bound.session for bound in bounds)]
    return [weakref.ref(part) for part in found]


def kept(refs: list["weakref.ref[Any]"]) -> list[str]:
    return [type(part).__name__ for ref in refs if (part := ref()) is not None]


async def asked(engine: FeatureEngine, request: FeatureRequest) -> None:
    """An answer, or a refusal: whichever, all of it is let go."""
    with suppress(FeatureError, ImageError):
        (await engine.infer(request)).release()


async def swap(engine: FeatureEngine, catalog: FolderCatalog, until: Until) -> None:
    """Promote the second version, and have the first pushed out by the third: the newest other one always stays."""
    _, second, third = catalog.bundles
    catalog.aliases["tiny@production"] = second
    await asyncio.to_thread(engine.models.refresh)
    await asyncio.to_thread(engine.models.ensure, "tiny", 2, 120)
    await asyncio.to_thread(engine.models.ensure, "tiny", 3, 120)
    await asyncio.to_thread(until, lambda: {loaded.version for loaded in engine.models.loaded()} == {second, third})


@pytest.mark.anyio
@pytest.mark.parametrize("images", [1, 4])
async def test_after_a_swap_nothing_of_the_old_version_is_kept(
    open_engine: OpenEngine, catalog: FolderCatalog, until: Until, jpeg: Jpeg, request_of: RequestOf, images: int
) -> None:
    limits = EngineLimits(result_bytes=10**6)
    async with open_engine(limits, max_loaded=1) as engine:
        (old,) = engine.models.loaded()
        refs, thread = parts(old), old.owner._thread
        await asked(engine, request_of(*[jpeg()] * images, levels=("res2", "res5")))
        refs += parts(old)  # a shallow level has a part of the network of its own
        await asked(engine, request_of(jpeg(), pool="avg"))
        await asked(engine, request_of(*[b"text"] * images))
        await asked(engine, request_of(jpeg(), timeout_ms=1))
        task = asyncio.ensure_future(engine.infer(request_of(jpeg(), levels=("res3",))))
        await asyncio.sleep(0)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert await engine.probe(60) == []
        del old, task
        await swap(engine, catalog, until)
        await asyncio.to_thread(thread.join, 120)
        await asyncio.to_thread(until, lambda: kept(refs) == [])
        await asked(engine, request_of(jpeg()))


@pytest.mark.anyio
@pytest.mark.parametrize("where", ["stage", "compute"])
async def test_nor_after_its_failures(
    open_engine: OpenEngine,
    catalog: FolderCatalog,
    until: Until,
    jpeg: Jpeg,
    request_of: RequestOf,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """What was raised has the frames of those who ran it, and these have the model."""

    def fail(*arguments: Any) -> Any:
        raise RuntimeError("no room on the device")

    async with open_engine(max_loaded=1) as engine:
        (old,) = engine.models.loaded()
        refs, thread = parts(old), old.owner._thread
        monkeypatch.setattr(Bound, where, fail)
        for count in (1, 3):
            await asked(engine, request_of(*[jpeg()] * count))
        assert await engine.probe(60) == ["tiny:1 fails: the model failed on this image: no room on the device"]
        monkeypatch.undo()
        del old
        await swap(engine, catalog, until)
        await asyncio.to_thread(thread.join, 120)
        await asyncio.to_thread(until, lambda: kept(refs) == [])


def test_nor_of_one_that_could_not_be_loaded(
    open_models: OpenModels, catalog: FolderCatalog, until: Until, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It is tried twice, fetched anew: the first is gone when the second is opened."""
    models = open_models()
    until(lambda: models.settled)
    sessions_made: list[weakref.ref[Any]] = []
    kept_before: list[list[str]] = []

    def refuse(session: Any) -> None:
        kept_before.append(kept(sessions_made))
        sessions_made.extend((weakref.ref(session), weakref.ref(session._whole.session)))
        raise BundleError("it is not what it says")

    monkeypatch.setattr(opening, "check_outputs", refuse)
    write_tiny_bundle(tmp_path / "new", seed=9)
    catalog.add("tiny", 4, tmp_path / "new")
    with pytest.raises(ModelUnavailable, match="not what it says"):
        models.ensure("tiny", 4, timeout=120)
    assert kept_before == [[], []]
    until(lambda: kept(sessions_made) == [])
