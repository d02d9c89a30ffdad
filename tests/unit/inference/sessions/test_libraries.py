"""Which library is missing, and what helps."""

import ctypes
import sys
from collections.abc import Iterator
from pathlib import Path

import onnxruntime as ort
import pytest

from detco_core.inference.sessions.execution import CUDA, TENSORRT
from detco_core.inference.sessions.libraries import bring, why_not

BUILT = pytest.mark.skipif(CUDA not in ort.get_available_providers(), reason="this onnxruntime has no CUDA provider")


@pytest.fixture(autouse=True)
def anew() -> Iterator[None]:
    bring.cache_clear()
    yield
    bring.cache_clear()


def is_here(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


@BUILT
@pytest.mark.parametrize(("provider", "library"), [(CUDA, "libcuda.so.1"), (TENSORRT, "libnvinfer.so.10")])
def test_the_library_this_machine_lacks_is_named(provider: str, library: str) -> None:
    if is_here(library):
        pytest.skip(f"this machine has {library}")
    assert "cannot open shared object file" in why_not(provider)


@BUILT
@pytest.mark.parametrize(
    ("library", "provider", "remedy"),
    [
        ("libcurand.so.10", CUDA, "pip install 'detco[gpu]'"),
        ("libcuda.so.1", CUDA, "driver is not installed"),
        ("libnvinfer.so.10", TENSORRT, "pip install 'tensorrt-cu13<11'"),
        ("libcublas.so.13", TENSORRT, "pip install 'detco[gpu]'"),
    ],
)
def test_each_has_its_remedy(library: str, provider: str, remedy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        assert Path(path).is_file()
        raise OSError(f"{library}: cannot open shared object file: No such file or directory")

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert library in why_not(provider)
    assert remedy in why_not(provider)


@BUILT
def test_where_none_is_missing_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda path: None)
    assert "its libraries are here" in why_not(CUDA)


def test_a_package_without_gpus_is_told() -> None:
    assert "put onnxruntime-gpu in its place" in why_not("NoSuchExecutionProvider")


def test_tensorrts_wheel_is_found_where_pip_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tensorrt_libs").mkdir()
    loaded: list[str] = []
    preloaded: list[None] = []
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(ctypes, "CDLL", loaded.append)
    monkeypatch.setattr(ort, "preload_dlls", lambda: preloaded.append(None))
    for _ in range(2):
        bring()
        bring(tensorrt=True)
    folder = tmp_path / "tensorrt_libs"
    assert loaded == [str(folder / "libnvinfer.so.10"), str(folder / "libnvonnxparser.so.10")]
    assert len(preloaded) == 2
