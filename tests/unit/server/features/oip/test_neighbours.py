"""Who may share memory."""

from pathlib import Path

import pytest

from control.errors import Forbidden
from server.features.errors import BadTensor
from server.features.oip.neighbours import Neighbour
from server.features.oip.shared_memory import SharedMemory


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", ""])
def test_clients_on_this_machine_may(host: str, tmp_path: Path) -> None:
    regions = SharedMemory(tmp_path)
    assert Neighbour(regions, host).regions is regions
    with pytest.raises(BadTensor, match="DETCO_SHARED_MEMORY"):
        _ = Neighbour(None, host).regions


@pytest.mark.parametrize("host", ["10.0.0.1", "fe80::1%eth0", "localhost", "::ffff:10.0.0.1"])
def test_others_may_not(host: str, tmp_path: Path) -> None:
    with pytest.raises(Forbidden, match="on this machine"):
        _ = Neighbour(SharedMemory(tmp_path), host).regions
