"""NumPy's `.npy` format, read so that a hostile file costs no more than its header."""

from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

MAGIC = b"\x93NUMPY"


def read_npy(file: BinaryIO, check: Callable[[tuple[int, ...], "np.dtype[Any]"], None]) -> NDArray[Any]:
    """The array of a seekable file, once `check` has let its shape and type pass; never pickled objects.

    Raises:
        ValueError, EOFError, OSError: it is no whole `.npy` file; and whatever `check` raises.
    """
    version = npy.read_magic(file)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(file)
    check(shape, dtype)
    file.seek(0)
    array: NDArray[Any] = npy.read_array(file, allow_pickle=False)
    return array
