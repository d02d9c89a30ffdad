"""What tests on a GPU share. What each needs beside one is said where it is skipped."""

from pathlib import Path

import onnxruntime as ort
import pytest

from detco_core.inference.sessions.execution import CUDA, TENSORRT, cuda_devices
from detco_core.inference.sessions.libraries import bring, why_not
from detco_core.inference.tiny import write_tiny_pyramid


@pytest.fixture(scope="session", autouse=True)
def _gpu() -> None:
    if cuda_devices() == 0:
        pytest.skip("no GPU: the CUDA driver shows none to this process")


@pytest.fixture(scope="session")
def onnxruntime_gpu() -> None:
    """For tests that compute: a package without CUDA is a reason to skip, one that cannot use the GPU is a failure."""
    if CUDA not in ort.get_available_providers():
        pytest.skip(
            f"needs onnxruntime-gpu; here is onnxruntime {ort.__version__} for the CPU: pip install 'detco[gpu]'"
        )


@pytest.fixture(scope="session")
def tensorrt(onnxruntime_gpu: None) -> None:
    bring(tensorrt=True)
    # Without TensorRT's own library there is nothing to test; whatever else is missing is a failure.
    if (reason := why_not(TENSORRT)).startswith(("libnvinfer", "libnvonnxparser")):
        pytest.skip(reason)


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "pyramid"
    write_tiny_pyramid(folder)
    return folder
