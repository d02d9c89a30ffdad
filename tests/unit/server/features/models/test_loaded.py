"""One opened model: refused when it does not keep its manifest's promises, closed when the last user lets go."""

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import InputSpec, Level, Manifest
from detco_core.contract.reader import plain
from detco_core.inference.sessions.execution import Execution
from detco_core.inference.sessions.session import Session
from detco_core.inference.tiny import write_tiny_bundle
from server.features.models.catalog import VersionRef
from server.features.models.loaded import Loaded
from server.features.waiting import Entry

EXECUTION = Execution(providers=("CPUExecutionProvider",), threads=1)
Opened = Callable[..., Loaded]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    def write(change: Callable[[Manifest], Manifest] = lambda manifest: manifest, **more: Any) -> Loaded:
        manifest = write_tiny_bundle(tmp_path, **more)
        (tmp_path / "manifest.json").write_text(json.dumps(plain(change(manifest))))
        return Loaded.open(VersionRef("v1", "tiny", 1, manifest.weights_digest), tmp_path, EXECUTION, ahead=1)

    return write


def closed(loaded: Loaded) -> bool:
    loaded.owner._thread.join(30)
    return not loaded.owner._thread.is_alive()


def pooled(loaded: Loaded) -> np.ndarray:
    """What the model gives for an image of its mean colour."""
    image = np.zeros((1, loaded.manifest.input.channels, 96, 96), np.float32)
    return loaded.owner.submit(Entry(image, ("pooled",), time.monotonic() + 30)).result(30).maps["pooled"]


@pytest.mark.parametrize(
    "spec", [InputSpec(), InputSpec(multiple=96), InputSpec(channels=5, mean=(0.5,) * 5, std=(0.5,) * 5, color="raw")]
)
def test_it_is_warm_and_answers(opened: Opened, spec: InputSpec) -> None:
    loaded = opened(spec=spec)
    assert pooled(loaded).shape == (1, 10)
    assert loaded.bytes == loaded.manifest.files["onnx"].bytes
    assert loaded.identity.provider == "CPUExecutionProvider"
    loaded.retire()
    assert closed(loaded)


def test_every_size_asked_for_is_computed_before_anyone_may_use_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes: list[tuple[int, ...]] = []
    run = Session.run

    def recorded(session: Session, array: np.ndarray, outputs: Sequence[str]) -> Any:
        shapes.append(array.shape)
        return run(session, array, outputs)

    monkeypatch.setattr(Session, "run", recorded)
    manifest = write_tiny_bundle(tmp_path)
    execution = dataclasses.replace(EXECUTION, sizes=((96, 128),))
    loaded = Loaded.open(VersionRef("v1", "tiny", 1, manifest.weights_digest), tmp_path, execution, ahead=1)
    assert shapes[-2:] == [(1, 3, 224, 224), (1, 3, 96, 128)]
    loaded.retire()
    assert closed(loaded)


@pytest.mark.parametrize(
    "change",
    [
        lambda manifest: dataclasses.replace(manifest, pooled=11),
        lambda manifest: dataclasses.replace(
            manifest, levels=(*manifest.levels[:3], Level(name="res5", channels=10, stride=16))
        ),
        lambda manifest: dataclasses.replace(
            manifest, levels=(*manifest.levels[:3], Level(name="res5", channels=12, stride=32))
        ),
    ],
)
def test_a_manifest_that_promises_something_else_is_refused(
    opened: Opened, change: Callable[[Manifest], Manifest]
) -> None:
    with pytest.raises(BundleError, match="promises"):
        opened(change)


def test_it_is_closed_when_the_last_user_lets_go(opened: Opened) -> None:
    loaded = opened()
    assert loaded.hold()
    assert loaded.hold()
    loaded.retire()
    loaded.let_go()
    assert loaded.owner._thread.is_alive()
    assert pooled(loaded).shape == (1, 10)
    loaded.let_go()
    assert closed(loaded)
    assert not loaded.hold()
