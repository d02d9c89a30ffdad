"""The one command for a machine with a GPU says what is missing, and measures; here on the CPU."""

import importlib.util
from pathlib import Path

import onnxruntime as ort
import pytest

from benchmarks import gpu
from detco_core.inference.sessions.execution import CPU, CUDA, cuda_devices
from detco_core.inference.sessions.host_memory import gpu_buffers

WITHOUT_GPU = pytest.mark.skipif(cuda_devices() > 0, reason="this machine has a GPU")


def test_each_part_says_what_it_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    assert gpu.missing("tests") is None
    monkeypatch.setattr(gpu, "cuda_devices", lambda: 0)
    assert gpu.missing("figures") == gpu.missing("serving") == "no GPU: the CUDA driver shows none to this process"
    monkeypatch.setattr(gpu, "cuda_devices", lambda: 1)
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CPU])
    assert "put onnxruntime-gpu in its place" in str(gpu.missing("figures"))
    monkeypatch.setattr(ort, "get_available_providers", lambda: [CUDA, CPU])
    assert gpu.missing("figures") is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "uvicorn" else name)
    assert gpu.missing("serving") == "the server needs uvicorn: pip install 'detco[server,client]' psutil"


@WITHOUT_GPU
def test_figures_of_what_can_be_opened_and_why_the_rest_cannot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "WAYS", ((CPU, "fp32"), (CUDA, "fp32")))
    monkeypatch.setattr(gpu, "TINY", ((2, 32, 64),))
    monkeypatch.setattr(gpu, "LEAST", 0.0)
    monkeypatch.setattr(gpu, "copies", lambda: {})
    found = gpu.figures(gpu.arguments(["--tiny"]))
    (line,) = found["CPU fp32"]
    assert (line["shape"], line["provider"]) == ((2, 32, 64), CPU)
    assert all(line[name] > 0 for name in ("one_by_one", "one_ahead", "bare_run"))
    assert f"asked onnxruntime for {CUDA}, got {CPU}" in found["CUDA fp32"]["left_out"]
    assert found["failed"]


def test_copies_are_timed_out_of_both_kinds_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "LEAST", 0.0)
    gpu_buffers.cache_clear()
    assert all(rate > 0 for rate in gpu.copies(2**12, "cpu").values())
    gpu_buffers.cache_clear()


@WITHOUT_GPU
@pytest.mark.slow
def test_without_a_gpu_all_is_left_out_and_nothing_fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert gpu.main(["--tiny", "--results", str(tmp_path)]) == 0
    told = capfd.readouterr().out
    assert "no GPU: the CUDA driver shows none to this process" in told
    assert " skipped" in told
    assert (tmp_path / "gpu.json").exists()
