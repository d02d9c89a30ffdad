"""Models on a real GPU: `pytest -m gpu`. What the unit tests show on the CPU with stand-ins is seen here."""

import logging
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from detco_core.contract.shortage import is_out_of_memory
from detco_core.inference.sessions.execution import (
    CPU,
    CUDA,
    DEVICE,
    TENSORRT,
    Execution,
    Precision,
    available_providers,
    provider_options,
)
from detco_core.inference.sessions.host_memory import PageLocked, gpu_buffers
from detco_core.inference.sessions.nodes import left_to_the_cpu
from detco_core.inference.sessions.session import Session, outputs_of
from server.features.batcher import ComputeOwner
from server.features.models.warming import check_outputs, warm
from server.features.waiting import Batching, Entry

pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("onnxruntime_gpu")]

ON_GPU = Execution(providers=(CUDA, CPU), strict=True)
TOLERANCE: dict[Precision, float] = {"fp32": 1e-4, "tf32": 5e-3, "fp16": 5e-3}
"""Of the largest value of a level."""


def image(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, height, width)).astype(np.float32)


def off(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found.astype(np.float32) - expected).max() / np.abs(expected).max())


@pytest.fixture(scope="module")
def on_cpu(bundle: Path) -> Session:
    return Session.open(bundle, Execution(providers=(CPU,)))


def compare(on_cpu: Session, on_gpu: Session, tolerance: float) -> None:
    outputs = outputs_of(on_cpu.manifest)
    for seed in range(3):
        expected = on_cpu.run(image(seed), outputs)
        for name, values in on_gpu.run(image(seed), outputs).items():
            assert off(values, expected[name]) < tolerance, name


@pytest.mark.parametrize("precision", TOLERANCE)
def test_features_are_the_cpus(bundle: Path, on_cpu: Session, precision: Precision) -> None:
    on_gpu = Session.open(bundle, Execution(providers=(CUDA, CPU), strict=True, precision=precision))
    assert (on_gpu.provider, on_gpu.precision) == (CUDA, precision)
    assert on_gpu.run(image(0), ("p5",))["p5"].dtype == (np.float16 if precision == "fp16" else np.float32)
    compare(on_cpu, on_gpu, TOLERANCE[precision])


@pytest.mark.parametrize("precision", TOLERANCE)
def test_onnxruntime_has_the_options_and_leaves_no_operator_to_the_cpu(bundle: Path, precision: Precision) -> None:
    execution = Execution(providers=(CUDA, CPU), strict=True, precision=precision, gpu_memory=2**30)
    session = Session.open(bundle, execution)._whole.session
    ((_, asked), _) = provider_options(execution)
    assert {name: session.get_provider_options()[CUDA].get(name) for name in asked} == asked
    assert left_to_the_cpu(session) is None


def test_memory_is_page_locked_and_no_reply_changes(bundle: Path) -> None:
    session = Session.open(bundle, Execution(providers=(CUDA, CPU), strict=True, gpu_memory=2**30))
    assert isinstance(gpu_buffers(DEVICE)._memory, PageLocked)
    outputs = outputs_of(session.manifest)
    sizes = [(96, 128), (128, 128), (160, 96)]
    cases = [image(seed, *sizes[seed % 3]) for seed in range(9)]
    expected = [session.run(case, outputs) for case in cases]

    def one(seed: int) -> bool:
        chosen = np.random.default_rng(seed).integers(len(cases), size=20)
        kept = [(case, session.run(cases[case], outputs)) for case in chosen]
        return all(off(found[name], expected[case][name]) < 1e-4 for case, found in kept for name in outputs)

    with ThreadPoolExecutor(4) as threads:
        assert all(threads.map(one, range(8)))


def test_a_batch_can_be_brought_while_another_computes(bundle: Path) -> None:
    session = Session.open(bundle, ON_GPU)
    expected = [session.run(image(seed), ("p5",))["p5"] for seed in range(8)]
    with ThreadPoolExecutor(1) as threads:
        computing = [threads.submit(session.stage([image(seed)], ("p5",)).compute) for seed in range(8)]
        for done, alone in zip(computing, expected, strict=True):
            assert off(done.result()["p5"], alone) < 1e-4


def test_the_owner_of_a_model_batches_sizes_and_outputs_apart(bundle: Path, on_cpu: Session) -> None:
    session = Session.open(bundle, ON_GPU)
    owner = ComputeOwner(session, "tiny", Batching(images=4, seconds=0.002))
    owner.start()
    cases = [(image(seed, 96, 128 - 32 * (seed % 2)), ("p5",) if seed % 3 else ("p3", "pooled")) for seed in range(60)]
    deadline = time.monotonic() + 120
    futures = [owner.submit(Entry(array, outputs, deadline)) for array, outputs in cases]
    for (array, outputs), future in zip(cases, futures, strict=True):
        done = future.result(120)
        assert done.provider == CUDA
        for name, values in on_cpu.run(array, outputs).items():
            assert off(done.maps[name], values) < TOLERANCE["fp32"]
    owner.close()
    assert owner.computed == len(cases)


def test_an_image_without_room_fails_alone(bundle: Path) -> None:
    session = Session.open(bundle, Execution(providers=(CUDA, CPU), strict=True, gpu_memory=64 * 2**20))
    before = session.run(image(1), ("p5",))["p5"]
    with pytest.raises(Exception, match=r".") as caught:
        session.run(image(0, 4096, 4096), ("p5",))
    assert is_out_of_memory(caught.value), f"unknown words of a full GPU: {caught.value}"
    assert off(session.run(image(1), ("p5",))["p5"], before) < 1e-6


def test_memory_in_pieces_is_put_together(bundle: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each size fits by itself; what they leave behind would not, all together."""
    session = Session.open(bundle, Execution(providers=(CUDA, CPU), strict=True, gpu_memory=64 * 2**20))
    with caplog.at_level(logging.WARNING):
        for side in range(512, 1152, 64):
            session.run(image(0, side, side), ("p5",))
    assert "ran out" in caplog.text
    assert "giving the device's memory back failed" not in caplog.text


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.usefixtures("tensorrt")
def test_tensorrts_features_are_the_cpus(bundle: Path, on_cpu: Session, precision: Precision) -> None:
    """Also in fp32, which TensorRT by itself would round to TF32."""
    execution = Execution(providers=(TENSORRT, CUDA, CPU), strict=True, precision=precision, sizes=((96, 128),))
    on_gpu = Session.open(bundle, execution)
    assert (on_gpu.provider, on_gpu.precision) == (TENSORRT, precision)
    compare(on_cpu, on_gpu, TOLERANCE[precision])
    engines = {path: path.stat().st_mtime_ns for path in (bundle / "engines").rglob("*.engine")}
    assert engines
    Session.open(bundle, execution)
    assert {path: path.stat().st_mtime_ns for path in (bundle / "engines").rglob("*.engine")} == engines


@pytest.mark.parametrize("order", [(CUDA, CPU), (TENSORRT, CUDA, CPU)])
def test_a_model_warms_up_and_keeps_its_promises(
    bundle: Path, order: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    if order[0] == TENSORRT:
        request.getfixturevalue("tensorrt")
    session = Session.open(bundle, Execution(providers=order, strict=True, batch=4, sizes=((96, 128),)))
    check_outputs(session)
    warm(session, 4)
    assert session.provider == order[0]
    assert session.stage([image(0, 1024, 1024)], ("p5",)).provider == CUDA


def test_the_gpu_is_what_is_taken_where_nothing_is_said() -> None:
    assert available_providers() == (CUDA, CPU)
