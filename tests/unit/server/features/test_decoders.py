"""The decoding threads: as many as were asked for, and one."""

from threading import Barrier

from server.features.decoders import Decoders


def test_as_many_decode_as_were_asked_for_while_one_computes() -> None:
    together = Barrier(3)
    with Decoders(2) as decoders:
        waiting = [decoders.submit(together.wait, 30) for _ in range(3)]
        assert sorted(future.result(30) for future in waiting) == [0, 1, 2]
        assert decoders.computing.acquire(blocking=False)
