"""A pickle of arrays is read whatever wrote it; anything else is refused before it can do a thing."""

import collections
import contextlib
import os
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from detco_core.nets.foreign import pickles
from detco_core.nets.foreign.pickles import UnsafePickle, load_arrays

ARRAYS: dict[str, Any] = {
    "matrix": np.arange(12, dtype=np.float32).reshape(3, 4),
    "fortran": np.asfortranarray(np.arange(12, dtype=np.float32).reshape(3, 4)),
    "big endian": np.arange(4, dtype=">f8"),
    "half": np.array([1.5, -2], np.float16),
    "scalar array": np.array(7),
    "scalar": np.int64(7),
    "empty": np.zeros((0, 3), np.float32),
    "flags": np.array([True, False]),
}


def read(content: object, protocol: int = 4) -> Any:
    return load_arrays(pickle.dumps(content, protocol=protocol))


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_come_back_as_tensors_with_any_protocol(protocol: int) -> None:
    found = read({"model": ARRAYS, "__author__": "ada", "matching_heuristics": True}, protocol)
    assert (found["__author__"], found["matching_heuristics"]) == ("ada", True)
    for name, array in ARRAYS.items():
        tensor = found["model"][name]
        assert isinstance(tensor, torch.Tensor)
        np.testing.assert_array_equal(tensor.numpy(), array)
        assert tensor.shape == np.shape(array)


def test_an_ordered_dict_is_a_dict() -> None:
    found = read(collections.OrderedDict(b=np.ones(2), a=1))
    assert type(found) is dict
    assert list(found) == ["b", "a"]


def test_an_array_of_python_2_is_read() -> None:
    """As detectron's oldest files: bytes are strings there, and NumPy's module had its old name."""
    data = (
        b"\x80\x02}q\x00U\x01wq\x01cnumpy.core.multiarray\n_reconstruct\nq\x02cnumpy\nndarray\nq\x03K\x00\x85q\x04U\x01b"
        b"q\x05\x87q\x06Rq\x07(K\x01K\x02\x85q\x08cnumpy\ndtype\nq\tU\x02f4q\nK\x00K\x01\x87q\x0bRq\x0c(K\x03U\x01<"
        b"q\rNNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x0eb\x89U\x08\x00\x00\x80?\x00\x00\x00\xc0q\x0ftq\x10bs."
    )
    assert pickle.loads(data, encoding="latin1")["w"].tolist() == [1, -2]  # noqa: S301 - our own bytes
    found = load_arrays(data)
    assert isinstance(found, dict)
    assert found["w"].tolist() == [1, -2]


class Calls:
    """Runs a command when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("place", ["alone", "inside", "key"])
def test_code_is_refused_by_name_and_does_not_run(tmp_path: Path, protocol: int, place: str) -> None:
    evil = Calls(tmp_path / "ran")
    content = {"alone": evil, "inside": {"model": {"w": np.ones(1), "x": evil}}, "key": {(1, evil): 1}}[place]
    data = pickle.dumps(content, protocol=protocol)
    with pytest.raises(UnsafePickle, match=r"names (posix|nt)\.system"):
        load_arrays(data)
    assert not (tmp_path / "ran").exists()
    pickle.loads(data)  # noqa: S301 - shows that the file was a real one
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "named",
    [
        b"cbuiltins\neval\n",
        b"cbuiltins\ngetattr\n",
        b"cnumpy\nload\n",
        b"cnumpy\nndarray.tofile\n",
        b"cnumpy.core.multiarray\nfromfile\n",
        b"cnumpy.testing._private.utils\nrunstring\n",
        b"ctorch\nload\n",
        b"\x8c\x05numpy\x8c\x10dtype.__init__.x\x93",
    ],
)
def test_every_other_name_is_refused(named: bytes) -> None:
    with pytest.raises(UnsafePickle, match="it names "):
        load_arrays(b"\x80\x04" + named + b".")


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80\x04Pabc\n.", "PERSID"),
        (b"\x80\x04\x82\x01.", "EXT1"),
        (b"(ios\nsystem\n.", "INST"),
        (b"\x80\x04}r\xff\xff\xff\xff.", "memo place 4294967295"),
        (b"\x80\x05\x96\xff\xff\xff\xff\xff\xff\xff\x7f.", "not a whole pickle"),
        (b"\x80\x04\x8d\xff\xff\xff\xff\xff\xff\xff\x7f.", "not a whole pickle"),
        (b"\x80\x63.", "damaged"),
        (b"", "not a whole pickle"),
        (b"\x80\x04R.", "damaged"),
    ],
)
def test_what_could_fill_the_memory_or_is_damaged_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(UnsafePickle, match=reason):
        load_arrays(data)


def test_too_many_instructions_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pickles, "MAX_INSTRUCTIONS", 10)
    with pytest.raises(UnsafePickle, match="more than 10 instructions"):
        read(list(range(20)))


@pytest.mark.parametrize("array", [np.array([{}], object), np.array(["a"]), np.array([1j]), np.zeros(2, "f4,f4")])
@pytest.mark.parametrize("protocol", [2, 5])
def test_arrays_of_anything_but_numbers_are_refused(array: Any, protocol: int) -> None:
    with pytest.raises(UnsafePickle):
        read({"w": array}, protocol)


def test_a_shape_its_bytes_do_not_fill_is_refused() -> None:
    data = pickle.dumps({"w": np.zeros((2, 2), np.float32)}, protocol=4)
    with pytest.raises(UnsafePickle, match="damaged"):
        load_arrays(data.replace(b"K\x02K\x02\x86", b"K\x02K\xff\x86"))


@pytest.fixture(scope="module")
def pickled() -> bytes:
    return pickle.dumps({"model": {"a": np.ones((2, 3), np.float32), "b": np.int64(1)}, "x": [1, "y"]}, protocol=2)


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans())
def test_damaged_pickles_are_refused_or_plain(pickled: bytes, at: int, byte: int, cut: bool) -> None:
    at %= len(pickled)
    damaged = pickled[:at] if cut else pickled[:at] + bytes([byte]) + pickled[at + 1 :]
    check(damaged)


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_plain(data: bytes) -> None:
    check(data)
    check(b"\x80\x04" + data + b".")


_CODES = [code.code.encode("latin1") for code in pickletools.opcodes]
_PIECES = st.sampled_from([*_CODES, b"cnumpy\ndtype\n", b"cnumpy\nndarray\n", b"K\x01", b"U\x02f4", b"]", b"}", b")"])


@given(st.lists(_PIECES, max_size=30))
def test_random_programs_are_refused_or_plain(pieces: list[bytes]) -> None:
    check(b"".join(pieces) + b".")


def check(data: bytes) -> None:
    with contextlib.suppress(UnsafePickle):
        load_arrays(data)
