"""Sizes are computed before a model counts as ready; what it gives is held against its manifest."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from detco_core.contract.errors import BundleError
from detco_core.contract.manifest import InputSpec, read_manifest
from detco_core.inference.sessions.execution import CPU, CUDA, Execution
from server.features.models.warming import check_outputs, grey, warm

DETECTION = InputSpec(short_side=800, max_side=1333, multiple=32)


class Recorded:
    """Stands for a session on a GPU; notes the shapes it is asked for."""

    def __init__(self, bundle: Path, provider: str, sizes: tuple[tuple[int, int], ...]) -> None:
        self.provider = provider
        self.execution = Execution(sizes=sizes)
        self.manifest = SimpleNamespace(input=DETECTION, levels=read_manifest(bundle).levels)
        self.shapes: list[tuple[int, ...]] = []

    def run(self, array: np.ndarray, outputs: Sequence[str]) -> None:
        assert outputs == ("res2", "res3", "res4", "res5", "pooled")
        self.shapes.append(array.shape)


def test_a_gpu_sees_every_usual_size_alone_and_as_a_batch_twice(bundles: list[Path]) -> None:
    session = Recorded(bundles[0], CUDA, ((96, 100),))
    warm(session, 8)  # type: ignore[arg-type]
    sizes = [(224, 224), (800, 1088), (800, 1216), (1088, 800), (1216, 800), (96, 128)]
    assert session.shapes == [(count, 3, *size) for size in sizes for count in (1, 8) for _ in range(2)]


def test_a_cpu_sees_one_size_and_those_asked_for(bundles: list[Path]) -> None:
    session = Recorded(bundles[0], CPU, ((96, 128), (224, 224)))
    warm(session, 1)  # type: ignore[arg-type]
    assert session.shapes == [(1, 3, 224, 224), (1, 3, 96, 128)]


class Small(Recorded):
    """Has no room for several pictures of 800 pixels."""

    def run(self, array: np.ndarray, outputs: Sequence[str]) -> None:
        if array.size > 3 * 800 * 1216:
            raise RuntimeError("Available memory of 5 is smaller than requested bytes of 7")


def test_a_batch_without_room_says_what_would_help(bundles: list[Path]) -> None:
    with pytest.raises(BundleError, match="no memory for 8 of 800x1088 at once: raise DETCO_SERVE_GPU_MEMORY"):
        warm(Small(bundles[0], CUDA, ()), 8)  # type: ignore[arg-type]


def test_grey_is_padded_as_the_manifest_says(bundles: list[Path]) -> None:
    assert grey(read_manifest(bundles[0]), (5, 7)).shape == (1, 3, 5, 7)


class Overflowing:
    """Stands for a session whose last level is too large for float16."""

    def __init__(self, bundle: Path, precision: str) -> None:
        self.precision = precision
        self.manifest = read_manifest(bundle)

    def run(self, array: np.ndarray, outputs: Sequence[str]) -> dict[str, np.ndarray]:
        height, width = array.shape[2:]
        maps = {
            level.name: np.zeros((1, level.channels, -(-height // level.stride), -(-width // level.stride)))
            for level in self.manifest.levels
        }
        maps["res5"][0, 0, 0, 0] = np.inf
        return maps | {"pooled": np.zeros((1, self.manifest.pooled))}


def test_a_model_that_half_precision_cannot_hold_is_refused_in_it_alone(bundles: list[Path]) -> None:
    check_outputs(Overflowing(bundles[0], "fp32"))  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="res5 has values beyond float16's range"):
        check_outputs(Overflowing(bundles[0], "fp16"))  # type: ignore[arg-type]
