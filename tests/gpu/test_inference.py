"""Models on a real GPU: `pytest -m gpu`. What the unit tests show on the CPU with stand-ins is seen here."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from detco_core.inference.execution import CPU, CUDA, DEVICE, TENSORRT, Execution, Precision, available_providers
from detco_core.inference.host_memory import PageLocked, gpu_buffers
from detco_core.inference.opening import start
from detco_core.inference.session import Session, outputs_of
from detco_core.inference.tiny import write_tiny_pyramid
from server.features.warming import check_outputs, warm

pytestmark = pytest.mark.gpu


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "pyramid"
    write_tiny_pyramid(folder)
    return folder


def image(seed: int, height: int = 96, width: int = 128) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((1, 3, height, width)).astype(np.float32)


def off(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found.astype(np.float32) - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-4), ("tf32", 5e-3), ("fp16", 5e-3)])
def test_features_are_the_cpus(bundle: Path, precision: Precision, tolerance: float) -> None:
    on_cpu = Session.open(bundle, Execution(providers=(CPU,)))
    on_gpu = Session.open(bundle, Execution(providers=(CUDA, CPU), strict=True, precision=precision))
    assert (on_gpu.provider, on_gpu.precision) == (CUDA, precision)
    outputs = outputs_of(on_cpu.manifest)
    for seed in range(3):
        expected = on_cpu.run(image(seed), outputs)
        for name, values in on_gpu.run(image(seed), outputs).items():
            assert values.dtype == (np.float16 if precision == "fp16" else np.float32)
            assert off(values, expected[name]) < tolerance


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
    session = Session.open(bundle, Execution(providers=(CUDA, CPU), strict=True))
    expected = [session.run(image(seed), ("p5",))["p5"] for seed in range(8)]
    with ThreadPoolExecutor(1) as threads:
        computing = [threads.submit(session.stage([image(seed)], ("p5",)).compute) for seed in range(8)]
        for done, alone in zip(computing, expected, strict=True):
            assert off(done.result()["p5"], alone) < 1e-4


@pytest.mark.parametrize("order", [(CUDA, CPU), (TENSORRT, CUDA, CPU)])
def test_a_model_warms_up_and_keeps_its_promises(bundle: Path, order: tuple[str, ...]) -> None:
    execution = Execution(providers=order, strict=True, batch=4, sizes=((96, 128),))
    if order[0] == TENSORRT:
        model = (bundle / "model.onnx").read_bytes()
        if start(model, Execution(providers=order)).get_providers()[0] != TENSORRT:
            pytest.skip("TensorRT's libraries are not here")
    session = Session.open(bundle, execution)
    check_outputs(session)
    warm(session, 4)
    assert session.stage([image(0, 1024, 1024)], ("p5",)).provider == CUDA
    assert (order[0] == TENSORRT) == any((bundle / "engines").rglob("*.engine"))


def test_the_gpu_is_what_is_taken_where_nothing_is_said() -> None:
    assert available_providers() == (CUDA, CPU)
