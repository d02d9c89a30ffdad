"""What an open session keeps, on what it runs, and what is said when that is not what was asked."""

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime as ort
import pytest

from detco_core.contract.errors import BundleError
from detco_core.inference.sessions import opening
from detco_core.inference.sessions.execution import CPU, CUDA, TENSORRT, Execution, Precision, available_providers
from detco_core.inference.sessions.opening import start


def test_a_session_does_not_keep_the_bytes_it_was_opened_with(bundle: Path) -> None:
    model = (bundle / "model.onnx").read_bytes()
    before = sys.getrefcount(model)
    session = start(model, Execution(providers=(CPU,)))
    assert session.get_providers() == [CPU]
    assert sys.getrefcount(model) == before


class Labelled:
    """A session on the CPU that says it is on a GPU."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self.session = session

    def get_providers(self) -> list[str]:
        return [CUDA, CPU]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.session, name)


def test_nodes_the_gpu_leaves_to_the_cpu_are_told_or_refused(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = ort.InferenceSession

    def opened(model: bytes, options: ort.SessionOptions, **given: Any) -> Labelled:
        return Labelled(real(model, options, providers=[CPU]))

    monkeypatch.setattr(ort, "InferenceSession", opened)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(opening, "bring", lambda *, tensorrt: None)
    model, asked = (bundle / "model.onnx").read_bytes(), Execution(providers=(CUDA, CPU), threads=1)
    start(model, asked)
    told = f"{CUDA} leaves a part of the model to the CPU: Conv (5), Relu (5), GlobalAveragePool (1), Flatten (1)"
    assert told in caplog.text
    with pytest.raises(BundleError, match="leaves a part of the model to the CPU"):
        start(model, replace(asked, strict=True))


@pytest.mark.skipif(TENSORRT not in ort.get_available_providers(), reason="this onnxruntime has no TensorRT provider")
@pytest.mark.skipif(available_providers()[0] == CUDA, reason="this machine has a GPU")
def test_the_provider_after_one_that_cannot_be_made_keeps_its_options(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[list[tuple[str, dict[str, str]]]] = []
    real = ort.InferenceSession

    def opened(model: bytes, options: ort.SessionOptions, **given: Any) -> ort.InferenceSession:
        asked.append(given["providers"])
        return real(model, options, **given)

    monkeypatch.setattr(ort, "InferenceSession", opened)
    monkeypatch.delenv(opening.TF32, raising=False)
    execution = Execution(providers=(TENSORRT, CUDA, CPU), gpu_memory=2**30, threads=1)
    session = start((bundle / "model.onnx").read_bytes(), execution)
    assert session.get_providers() == [CPU]
    assert [[name for name, _ in providers] for providers in asked] == [[TENSORRT, CUDA, CPU], [CUDA, CPU]]
    # onnxruntime's own fallback would open it unbounded and rounding to TF32.
    assert asked[1][0][1]["gpu_mem_limit"] == "1073741824"
    assert asked[1][0][1]["use_tf32"] == "0"
    assert f"onnxruntime cannot make {TENSORRT}" in caplog.text
    assert f"asked onnxruntime for {TENSORRT}, got {CPU}: libnvinfer.so.10: cannot open" in caplog.text


@pytest.mark.parametrize(("precision", "expected"), [("fp32", "0"), ("tf32", None), ("fp16", None)])
def test_tensorrt_rounds_to_tf32_only_where_that_was_asked_for(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, precision: Precision, expected: str | None
) -> None:
    real = ort.InferenceSession
    monkeypatch.setenv(opening.TF32, "")  # so that it is as before in the end
    monkeypatch.delenv(opening.TF32)
    monkeypatch.setattr(opening, "bring", lambda *, tensorrt: None)
    monkeypatch.setattr(ort, "InferenceSession", lambda model, options, **given: real(model, options, providers=[CPU]))
    start((bundle / "model.onnx").read_bytes(), Execution(providers=(TENSORRT, CPU), threads=1, precision=precision))
    assert os.environ.get(opening.TF32) == expected


def test_a_gpu_that_is_full_is_no_reason_to_leave_it(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(model: bytes, options: ort.SessionOptions, **given: Any) -> None:
        raise RuntimeError("CUDA failure 2: out of memory ; GPU=0")

    monkeypatch.setattr(ort, "InferenceSession", full)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(opening, "bring", lambda *, tensorrt: None)
    with pytest.raises(BundleError, match="cannot open the model: CUDA failure 2") as caught:
        start((bundle / "model.onnx").read_bytes(), Execution(providers=(CUDA, CPU)))
    assert isinstance(caught.value.__cause__, RuntimeError)
