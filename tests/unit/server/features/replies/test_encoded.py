"""A body in pieces: sliced for the connection, and cut off from memory that is much larger than what is left of it."""

import numpy as np
import pytest

from detco_core.inference.sessions.host_memory import Buffers, Pageable
from server.features.replies.encoded import Encoded
from server.features.replies.tensor_files import raw


@pytest.mark.parametrize("most", [5000, 9999, 2**20])
def test_a_body_is_cut_into_slices_whatever_its_pieces(most: int) -> None:
    large = bytes(range(256)) * 40
    pieces: list[bytes | memoryview] = [b"", b"ab", memoryview(b"cd"), large, memoryview(large), b"e", b"f", b""]
    pieces += [b"small"] * 200
    slices = list(Encoded("x/y", pieces).slices(most))
    assert b"".join(slices) == b"".join(pieces)
    assert all(0 < len(one) <= most for one in slices)
    assert len(slices) == 1 + 2 * -(-len(large) // most) + 4


@pytest.mark.parametrize("start", [0, 1, 4, 5, 100, 404, 405, 408])
def test_the_rest_of_a_body_keeps_nothing_larger_alive(start: int) -> None:
    batch, alone = np.ones((4, 10, 10), np.float32), np.zeros((10, 10), np.float32)
    encoded = Encoded("x/y", [b"head", raw(batch[2]), raw(alone)])
    rest = encoded.rest(start)
    assert b"".join(rest.pieces) == b"".join(encoded.pieces)[start:]
    assert not any(np.shares_memory(np.frombuffer(piece, np.uint8), batch) for piece in rest.pieces)
    assert np.shares_memory(np.frombuffer(rest.pieces[2], np.uint8), alone)


def test_memory_lent_by_a_pool_is_known_for_what_it_is() -> None:
    pool = Buffers(Pageable(), 0)
    lent = pool.take((4, 2**20), np.float32)
    one, whole = Encoded("x/y", [raw(lent[1])]), Encoded("x/y", [raw(lent)])
    assert isinstance(one.rest(0).pieces[0], bytes)
    assert np.shares_memory(np.frombuffer(whole.rest(0).pieces[0], np.uint8), lent)
