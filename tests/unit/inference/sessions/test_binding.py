"""Bound memory: the numbers of a plain run, in memory that no later batch touches.

The way of a GPU is taken on the CPU: an input tensor of the session's own, outputs in a pool's memory.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from detco_core.inference.sessions import binding
from detco_core.inference.sessions.binding import Bound, Placement
from detco_core.inference.sessions.execution import CPU, Execution
from detco_core.inference.sessions.host_memory import Buffers, Pageable
from detco_core.inference.sessions.opening import start

OUTPUTS = ("res2", "res5", "pooled")
MIB = 2**20
Run = Callable[[np.ndarray, Sequence[str]], list[np.ndarray]]


class Counted(Pageable):
    allocated = 0

    def allocate(self, size: int) -> int:
        self.allocated += 1
        return super().allocate(size)


@pytest.fixture(scope="module")
def session(bundle: Path) -> ort.InferenceSession:
    return start((bundle / "model.onnx").read_bytes(), Execution(providers=(CPU,), threads=1))


@pytest.fixture(params=["cpu", "device"])
def bound(request: pytest.FixtureRequest, session: ort.InferenceSession) -> Bound:
    return Bound(
        session, None if request.param == "cpu" else Placement("cpu", 0, Buffers(Pageable(), 8 * MIB), "cpu:0")
    )


@pytest.fixture(scope="module")
def plain(session: ort.InferenceSession) -> Run:
    return lambda array, outputs: list(session.run(list(outputs), {"image": array}))


def image(seed: int, height: int = 50, width: int = 70) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, height, width)).astype(np.float32)


@pytest.mark.parametrize("outputs", [("res2",), OUTPUTS, ("pooled", "res3")])
def test_it_computes_what_a_plain_run_does(bound: Bound, plain: Run, outputs: Sequence[str]) -> None:
    for seed, (height, width) in enumerate([(50, 70), (50, 70), (32, 32), (50, 70), (33, 1)]):
        array = image(seed, height, width)
        found = bound.stage([array], outputs).compute()
        assert tuple(found) == tuple(outputs)
        for values, expected in zip(found.values(), plain(array, outputs), strict=True):
            np.testing.assert_array_equal(values, expected)


def test_several_images_are_one_batch(bound: Bound, plain: Run) -> None:
    arrays = [image(seed) for seed in range(3)]
    for _ in range(2):
        found = bound.stage(arrays, OUTPUTS).compute()
        for values, expected in zip(found.values(), plain(np.concatenate(arrays), OUTPUTS), strict=True):
            np.testing.assert_array_equal(values, expected)


def test_one_batch_can_be_brought_while_another_is_there(bound: Bound, plain: Run) -> None:
    first, second = bound.stage([image(1)], OUTPUTS), bound.stage([image(2)], OUTPUTS)
    later = second.compute(), first.compute()
    for found, seed in zip(later, (2, 1), strict=True):
        np.testing.assert_array_equal(found["res5"], plain(image(seed), ["res5"])[0])


def test_on_the_cpu_nothing_is_copied(session: ort.InferenceSession) -> None:
    bound = Bound(session, None)
    array = image(0)
    staged = bound.stage([array], OUTPUTS)
    assert staged.input is array
    assert not any(values.flags.owndata for values in staged.compute().values())


def test_on_a_device_memory_is_used_again(session: ort.InferenceSession) -> None:
    memory = Counted()
    bound = Bound(session, Placement("cpu", 0, Buffers(memory, 8 * MIB), "cpu:0"))
    inputs = set()
    for seed in range(6):
        staged = bound.stage([image(seed)], OUTPUTS)
        inputs.add(staged.input.data_ptr())
        staged.compute()
    assert len(inputs) == 1
    # What lies on the host takes a block in and one for each output.
    assert memory.allocated <= 1 + len(OUTPUTS)


def test_no_more_inputs_stay_on_a_device_than_may(
    session: ort.InferenceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(binding, "_IDLE_INPUTS", 3 * 4 * (33 * 32 + 64 * 64))
    bound = Bound(session, Placement("cpu", 0, Buffers(Pageable(), 8 * MIB), "cpu:0"))
    assert bound._inputs is not None
    for side in (32, 64, 32, 96, 64):
        bound.stage([image(0, side, side)], ("pooled",)).compute()
        assert (side, side) in [shape[2:] for shape, _ in bound._inputs._idle] or side == 96
    assert [shape[2:] for shape, _ in bound._inputs._idle] == [(32, 32), (64, 64)]
    bound.stage([image(0, 33, 32)], ("pooled",)).compute()
    assert [shape[2:] for shape, _ in bound._inputs._idle] == [(64, 64), (33, 32)]


def test_a_run_that_fails_leaves_the_next_unharmed(bound: Bound, plain: Run) -> None:
    with pytest.raises(Exception, match="nothing"):
        bound.stage([image(0)], ["nothing"]).compute()
    np.testing.assert_array_equal(bound.stage([image(1)], ["res5"]).compute()["res5"], plain(image(1), ["res5"])[0])


def test_no_reply_ever_changes(bound: Bound, plain: Run) -> None:
    """Many threads, three sizes; replies are kept for a while, read again, and dropped in another order."""
    sizes = [(50, 70), (64, 64), (33, 90)]
    cases = [(image(seed, *sizes[seed % 3]), OUTPUTS[: 1 + seed % 3]) for seed in range(12)]
    expected = [plain(array, outputs) for array, outputs in cases]
    bad: list[int] = []
    lock = threading.Lock()

    def one(seed: int) -> None:
        random = np.random.default_rng(seed)
        kept: list[tuple[int, list[np.ndarray]]] = []
        for case in random.integers(len(cases), size=25):
            array, outputs = cases[case]
            # As the batcher hands them on: views of the batch.
            kept.append((int(case), [values[:1] for values in bound.stage([array], outputs).compute().values()]))
            kept = [kept[place] for place in random.permutation(len(kept))[:4]]
            for number, values in kept:
                if not all(map(np.array_equal, values, expected[number])):
                    with lock:
                        bad.append(number)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(one, range(8)))
    assert not bad
