"""Every kind of file opens to its tensors, and what is not tensors is refused by name."""

import argparse
import collections
import contextlib
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from detco_core.contract.errors import WeightsError
from detco_core.nets.foreign import files
from detco_core.nets.foreign.files import open_file
from detco_core.runtime.checkpoint import file_digest

Save = Callable[..., Path]
STATE = {"conv1.weight": torch.arange(6.0).reshape(2, 3), "fc.bias": torch.ones(2)}


def same(found: dict[str, torch.Tensor]) -> bool:
    return list(found) == list(STATE) and all(torch.equal(found[name], value) for name, value in STATE.items())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model"])
def test_torch_files_of_both_formats_open(saved: Save, zipped: bool, wrapper: str | None) -> None:
    content: Any = STATE if wrapper is None else {"epoch": 3, wrapper: collections.OrderedDict(STATE)}
    opened = open_file(saved(content, _use_new_zipfile_serialization=zipped))
    assert same(opened.tensors)
    assert (opened.kind, opened.wrapper) == ("torch", wrapper)


def test_a_pickle_of_arrays_opens(tmp_path: Path) -> None:
    path = tmp_path / "detco.pkl"
    model = {name: value.numpy() for name, value in STATE.items()}
    path.write_bytes(pickle.dumps({"model": model, "__author__": "ada", "matching_heuristics": True}))
    opened = open_file(path)
    assert same(opened.tensors)
    assert (opened.kind, opened.wrapper) == ("pickle", "model")


def test_a_safetensors_file_opens(tmp_path: Path) -> None:
    save_file(STATE, tmp_path / "model.safetensors")
    opened = open_file(tmp_path / "model.safetensors")
    assert {name: value.tolist() for name, value in opened.tensors.items()} == {
        name: value.tolist() for name, value in STATE.items()
    }
    assert opened.kind == "safetensors"


def test_a_checkpoint_of_ours_opens_to_its_method(saved: Save) -> None:
    opened = open_file(saved({"format": 1, "info": {}, "state": {"method": STATE, "optimizer": {}}}))
    assert same(opened.tensors)


class Ran(Exception):
    """Raised by the object below when anything of it is run."""


class Explosive:
    """An object of another program: made, filled or called, it raises."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _explode, (1,), {"a": 1}


def _explode(*_: object) -> None:
    raise Ran


def test_objects_of_other_programs_beside_the_tensors_are_never_made(saved: Save) -> None:
    path = saved({"state_dict": STATE, "args": argparse.Namespace(lr=0.1), "hook": Explosive(), "path": Path("/")})
    with pytest.raises(Ran):
        torch.load(path, weights_only=False)
    opened = open_file(path)
    assert same(opened.tensors)


def test_in_the_old_format_they_are_refused_with_what_to_do(saved: Save) -> None:
    path = saved({"state_dict": STATE, "args": argparse.Namespace(lr=0.1)}, _use_new_zipfile_serialization=False)
    with pytest.raises(WeightsError, match=r"more than tensors in torch's old format: .* save its state dict alone"):
        open_file(path)


def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    (tmp_path / "evil.pkl").write_bytes(pickle.dumps({"model": {"w": np.ones(1)}, "x": Explosive()}))
    with pytest.raises(WeightsError, match=r"evil\.pkl cannot be read as plain arrays: it names .*_explode"):
        open_file(tmp_path / "evil.pkl")


def test_values_that_are_no_tensors_are_passed_over(saved: Save) -> None:
    meta = torch.ones(2, device="meta")
    opened = open_file(saved({"state_dict": {**STATE, "version": 3, "meta": meta, 7: torch.ones(1)}}))
    assert same(opened.tensors)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"a": 1, "b": 2}, "no tensors under state_dict, model, teacher or by themselves, but: a, b"),
        ({"state_dict": {}}, "but: state_dict"),
        ({}, "but: nothing"),
        ([torch.ones(1)], "holds a list, not a dict of tensors"),
        (torch.ones(1), "holds a Tensor"),
    ],
)
def test_files_without_named_tensors_are_refused(saved: Save, content: object, reason: str) -> None:
    with pytest.raises(WeightsError, match=reason):
        open_file(saved(content))


def test_a_missing_and_another_file_are_refused(saved: Save, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no weights file at"):
        open_file(tmp_path / "nowhere.pth")
    with pytest.raises(WeightsError, match="no weights file at"):
        open_file(tmp_path)
    path = saved(STATE)
    assert same(open_file(path, file_digest(path)).tensors)
    with pytest.raises(WeightsError, match="damaged or another: digest sha256:"):
        open_file(path, "sha256:00")


def test_compressed_parts_are_refused_before_they_are_unpacked(saved: Save, tmp_path: Path) -> None:
    with zipfile.ZipFile(saved(STATE)) as archive, zipfile.ZipFile(tmp_path / "small.pth", "w") as packed:
        for part in archive.infolist():
            packed.writestr(part.filename, archive.read(part), compress_type=zipfile.ZIP_DEFLATED)
    with pytest.raises(WeightsError, match="compressed archive and no torch file"):
        open_file(tmp_path / "small.pth")


def test_a_torchscript_program_is_not_run(saved: Save, tmp_path: Path) -> None:
    with zipfile.ZipFile(saved(STATE)) as archive, zipfile.ZipFile(tmp_path / "net.pt", "w") as program:
        for part in archive.infolist():
            program.writestr(part.filename, archive.read(part))
        program.writestr("net/code/__torch__.py", "class Net(Module): ...")
    with pytest.raises(WeightsError, match="is a TorchScript program, which is code; open it where you trust it"):
        open_file(tmp_path / "net.pt")


def test_an_empty_file_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "a.pth").touch()
    with pytest.raises(WeightsError, match="is empty"):
        open_file(tmp_path / "a.pth")


def test_dinos_teacher_is_taken_not_its_student(saved: Save) -> None:
    student = {name: value + 1 for name, value in STATE.items()}
    opened = open_file(saved({"student": student, "teacher": STATE, "epoch": 3}))
    assert opened.wrapper == "teacher"
    assert all(torch.equal(opened.tensors[name], value) for name, value in STATE.items())


def test_a_pickle_too_large_is_refused_before_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "MAX_PICKLE_BYTES", 100)
    (tmp_path / "a.pkl").write_bytes(pickle.dumps({"model": {"w": np.ones(100)}}))
    with pytest.raises(WeightsError, match="larger than"):
        open_file(tmp_path / "a.pkl")


@pytest.fixture(params=["zip", "legacy", "pickle", "safetensors"])
def whole(request: pytest.FixtureRequest, tmp_path: Path, saved: Save) -> bytes:
    """The bytes of a good file of each kind."""
    if request.param == "pickle":
        return pickle.dumps({"model": {name: value.numpy() for name, value in STATE.items()}})
    if request.param == "safetensors":
        save_file(STATE, tmp_path / "x")
        return (tmp_path / "x").read_bytes()
    return saved({"state_dict": STATE}, _use_new_zipfile_serialization=request.param == "zip").read_bytes()


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None, max_examples=60
)
@given(at=st.integers(0, 10**6), byte=st.none() | st.integers(0, 255))
def test_damaged_files_are_refused_or_opened_never_worse(
    whole: bytes, tmp_path: Path, at: int, byte: int | None
) -> None:
    at %= len(whole)
    path = tmp_path / "damaged"
    path.write_bytes(whole[:at] if byte is None else whole[:at] + bytes([byte]) + whole[at + 1 :])
    with contextlib.suppress(WeightsError):
        open_file(path)
