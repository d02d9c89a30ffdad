"""A file on disk is looked into as its bytes would be."""

from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detco_core.pixels import stored as module
from detco_core.pixels.stored import OnDisk, stored

MEMORY = st.binary(max_size=40) | st.text("ab", max_size=40).map(str.encode)


@given(data=MEMORY, start=st.integers(0, 2**70), length=st.integers(0, 2**70), block=st.integers(1, 8))
def test_slices_and_counts_are_those_of_the_bytes(data: bytes, start: int, length: int, block: int) -> None:
    on_disk = OnDisk(BytesIO(data))
    assert len(on_disk) == len(data)
    assert on_disk[start : start + length] == data[start : start + length]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        assert on_disk.count(b"ab") == data.count(b"ab")


def test_a_path_is_read_as_it_is_asked_for_and_bytes_are_shared(tmp_path: Path) -> None:
    data = b"0123456789"
    (tmp_path / "file").write_bytes(data)
    for where in (tmp_path / "file", str(tmp_path / "file"), BytesIO(data)):
        with stored(where) as found:
            assert found[3:5] == b"34"
    with stored(BytesIO(data)) as found:
        assert found is data
    with pytest.raises(FileNotFoundError), stored(tmp_path / "none"):
        pass
