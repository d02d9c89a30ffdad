"""A device whose memory ran out is tidied and asked once more: real runs, on the CPU, whose arena shrinks the same."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from detco_core.inference.sessions.arena import SHRINK
from detco_core.inference.sessions.binding import Bound, Placement
from detco_core.inference.sessions.execution import CPU, Execution
from detco_core.inference.sessions.host_memory import Buffers, Pageable
from detco_core.inference.sessions.opening import start

FULL = "bfc_arena.cc:376 Available memory of 5 is smaller than requested bytes of 7"
IMAGE = np.random.default_rng(0).standard_normal((1, 3, 50, 70)).astype(np.float32)


class Filled:
    """A session that fails as a full one does, so often as it is told to."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session = session
        self.message = FULL
        self.fails = {"run_with_iobinding": 0, "create_ortvalue_from_shape_and_type": 0}
        self.shrunk: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name) if name not in self.fails else self._failing(name)

    def _failing(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            if isinstance(arguments[-1], ort.RunOptions):
                self.shrunk.append(arguments[-1].get_run_config_entry(SHRINK))
            elif self.fails[name]:
                self.fails[name] -= 1
                raise RuntimeError(self.message)
            return getattr(self.session, name)(*arguments)

        return call


@pytest.fixture
def filled(bundle: Path) -> Filled:
    execution = Execution(providers=(CPU,), threads=1, arena=True)
    return Filled(start((bundle / "model.onnx").read_bytes(), execution))


def on_a_device(session: Filled, arena: str = "cpu:0") -> Bound:
    return Bound(session, Placement("cpu", 0, Buffers(Pageable(), 2**23), arena))


@pytest.mark.parametrize("what", ["run_with_iobinding", "create_ortvalue_from_shape_and_type"])
def test_it_gives_back_what_is_free_and_tries_once_more(filled: Filled, what: str) -> None:
    bound = on_a_device(filled)
    expected = bound.stage([IMAGE], ("res5",)).compute()["res5"]
    assert bound._inputs is not None
    assert len(bound._inputs._idle) == 1
    # Of another size, so that there is no tensor kept for it.
    image = np.concatenate([IMAGE, IMAGE])
    filled.fails[what] = 1
    found = bound.stage([image], ("res5",)).compute()["res5"]
    np.testing.assert_allclose(found[:1], expected, rtol=1e-5, atol=1e-6)
    assert filled.shrunk == ["cpu:0"]
    # What was kept for the next batch of the first size went first.
    assert [shape[0] for shape, _ in bound._inputs._idle] == [2]


def test_what_has_no_room_at_all_fails_and_the_next_does_not(filled: Filled) -> None:
    bound = on_a_device(filled)
    filled.fails["run_with_iobinding"] = 2
    with pytest.raises(RuntimeError, match="smaller than requested"):
        bound.stage([IMAGE], ("res5",)).compute()
    assert filled.shrunk == ["cpu:0"]
    assert bound.stage([IMAGE], ("res5",)).compute()["res5"].shape == (1, 10, 2, 3)


def test_other_faults_are_told_at_once(filled: Filled) -> None:
    filled.fails["run_with_iobinding"], filled.message = 1, "CUDA failure 700: an illegal memory access"
    with pytest.raises(RuntimeError, match="illegal"):
        on_a_device(filled).stage([IMAGE], ("res5",)).compute()
    assert filled.shrunk == []


def test_an_arena_that_cannot_be_tidied_leaves_the_second_try(filled: Filled, caplog: pytest.LogCaptureFixture) -> None:
    # As onnxruntime really refuses it: this session has no GPU.
    bound = on_a_device(filled, "gpu:0")
    filled.fails["run_with_iobinding"] = 1
    with caplog.at_level(logging.WARNING):
        assert bound.stage([IMAGE], ("res5",)).compute()["res5"].shape == (1, 10, 2, 3)
    assert "Did not find an arena based allocator" in caplog.text
