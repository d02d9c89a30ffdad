"""The answers a process gets when it is alone; with two it is tested in tests/distributed."""

import pytest
import torch

from detco_core.runtime import distributed


def test_alone_every_question_has_an_answer() -> None:
    x = torch.arange(4.0)
    assert (distributed.rank(), distributed.world_size()) == (0, 1)
    assert distributed.gather(x) is x
    assert distributed.mean(x) is x
    assert distributed.from_first(x) is x
    assert distributed.collect("a") == ["a"]
    assert distributed.any_process(True)
    assert not distributed.any_process(False)
    distributed.barrier()


def test_no_group_is_joined_without_a_launcher() -> None:
    with distributed.process_group(torch.device("cpu")):
        assert not torch.distributed.is_initialized()


def test_local_rank_is_what_the_launcher_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert distributed.local_rank() == 0
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert distributed.local_rank() == 3
