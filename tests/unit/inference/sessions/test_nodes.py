"""Which operators a session has the CPU compute."""

import onnxruntime as ort
import pytest

from detco_core.inference.sessions.execution import CPU, CUDA, Execution, session_options
from detco_core.inference.sessions.nodes import left_to_the_cpu
from detco_core.inference.tiny import write_tiny_pyramid


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> ort.InferenceSession:
    """All of it on the CPU."""
    folder = tmp_path_factory.mktemp("pyramid")
    write_tiny_pyramid(folder)
    options = session_options(Execution(providers=(CUDA, CPU), threads=1))
    return ort.InferenceSession((folder / "model.onnx").read_bytes(), options, providers=[CPU])


def test_operators_of_pictures_are_told_and_those_of_sizes_are_not(recorded: ort.InferenceSession) -> None:
    told = left_to_the_cpu(recorded)
    assert told is not None
    assert told.startswith("Conv (9), Relu (5), Resize (3)")
    # The pyramid asks each level for its size.
    assert "Shape" not in told


def test_what_another_provider_computes_is_not_told(
    recorded: ort.InferenceSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("detco_core.inference.sessions.nodes.CPU", CUDA)
    assert left_to_the_cpu(recorded) is None
