"""Checkpoint files: what goes in comes out, damage is named, and a full disk costs nothing that was saved before."""

import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from detco_core.contract.config import override
from detco_core.contract.errors import CheckpointError, CheckpointNotSaved
from detco_core.contract.presets import preset
from detco_core.runtime.checkpoint import (
    CheckpointInfo,
    checkpoint_path,
    file_digest,
    load,
    prune,
    save,
)
from tests.full_disk import small_disk

INFO = CheckpointInfo(
    step=20,
    epoch=2.5,
    steps=40,
    steps_per_epoch=8,
    config=override(preset("smoke"), {"seed": 7}),
    dataset="photos@3",
    dataset_digest="sha256:abc",
    world_size=2,
    software={"torch": "2"},
)


@pytest.fixture
def state() -> dict[str, Any]:
    return {
        "method": {"w": torch.randn(8, 3, 3, 3).contiguous(memory_format=torch.channels_last), "n": torch.tensor(5)},
        "optimizer": {"param_groups": [{"lr": 0.1, "params": [0]}], "state": {0: {"momentum_buffer": torch.ones(2)}}},
        "random": [{"torch": torch.get_rng_state(), "python": (3, (1, 2), None)}],
    }


@contextmanager
def full_disk(limit: int) -> Iterator[None]:
    """No file of this process may grow beyond `limit` bytes: the kernel refuses the write, as on a full disk."""
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)


def test_comes_back_as_it_went(tmp_path: Path, state: dict[str, Any]) -> None:
    saved = save(checkpoint_path(tmp_path, 20), INFO, state)
    assert saved.path == tmp_path / "checkpoints" / "step-00000020.pt"
    assert (saved.bytes, saved.sha256) == (saved.path.stat().st_size, file_digest(saved.path))
    loaded = load(saved.path, saved.sha256)
    assert loaded.info == INFO
    assert torch.equal(loaded.state["method"]["w"], state["method"]["w"])
    assert loaded.state["method"]["w"].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(loaded.state["random"][0]["torch"], state["random"][0]["torch"])
    assert loaded.state["optimizer"]["param_groups"] == state["optimizer"]["param_groups"]


def test_holds_no_code(tmp_path: Path, state: dict[str, Any]) -> None:
    saved = save(checkpoint_path(tmp_path, 1), INFO, state)
    assert torch.load(saved.path, weights_only=True)["format"] == 1


def test_leaves_nothing_else_behind(tmp_path: Path, state: dict[str, Any]) -> None:
    saved = save(checkpoint_path(tmp_path, 1), INFO, state)
    assert list(saved.path.parent.iterdir()) == [saved.path]


def test_a_full_disk_leaves_the_earlier_checkpoint_and_says_so(tmp_path: Path, state: dict[str, Any]) -> None:
    first = save(checkpoint_path(tmp_path, 10), INFO, state)
    state["method"]["big"] = torch.randn(100_000)
    with (
        full_disk(first.bytes + 1000),
        pytest.raises(CheckpointNotSaved, match=r"step-00000020\.pt.*File too large.*free disk space"),
    ):
        save(checkpoint_path(tmp_path, 20), INFO, state)
    assert list(first.path.parent.iterdir()) == [first.path]
    assert load(first.path, first.sha256).info.step == 20


@pytest.mark.slow
@pytest.mark.mounts
def test_a_disk_that_is_full_takes_no_half_checkpoint(tmp_path: Path, state: dict[str, Any]) -> None:
    with small_disk(tmp_path / "disk", 256) as disk:
        first = save(checkpoint_path(disk.folder, 10), INFO, state)
        state["method"]["big"] = torch.randn(100_000)
        for _ in range(2):
            with pytest.raises(CheckpointNotSaved, match=r"step-00000020\.pt: .*No space left.*free disk space"):
                save(checkpoint_path(disk.folder, 20), INFO, state)
            assert list(first.path.parent.iterdir()) == [first.path]
            disk.fill()  # now there is not even room for a beginning
        assert load(first.path, first.sha256).info == INFO
        disk.make_room()
        del state["method"]["big"]
        again = save(checkpoint_path(disk.folder, 20), INFO, state)
        assert torch.equal(load(again.path, again.sha256).state["method"]["w"], state["method"]["w"])


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, state: dict[str, Any]) -> None:
    (tmp_path / "checkpoints").write_text("a file where the folder should be")
    with pytest.raises(CheckpointError, match=r"cannot write .*checkpoints"):
        save(checkpoint_path(tmp_path, 10), INFO, state)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda data: data[: len(data) // 2], "damaged"),
        (lambda data: data[:0], "damaged"),
        (lambda data: b"not a checkpoint at all", "damaged"),
        (lambda data: data[:2000] + bytes([data[2000] ^ 1]) + data[2001:], "damaged"),
    ],
)
def test_damage_is_named(tmp_path: Path, state: dict[str, Any], damage: Callable[[bytes], bytes], words: str) -> None:
    saved = save(checkpoint_path(tmp_path, 10), INFO, state)
    saved.path.write_bytes(damage(saved.path.read_bytes()))
    with pytest.raises(CheckpointError, match=rf"step-00000010\.pt is {words}"):
        load(saved.path, saved.sha256)


@pytest.mark.parametrize("mmap", [False, True])
@pytest.mark.parametrize("length", [0, 1, 100, 1000])
def test_truncation_is_found_without_a_digest_too(
    tmp_path: Path, state: dict[str, Any], length: int, mmap: bool
) -> None:
    saved = save(checkpoint_path(tmp_path, 10), INFO, state)
    saved.path.write_bytes(saved.path.read_bytes()[:-length] if length else b"")
    with pytest.raises(CheckpointError, match=r"step-00000010\.pt"):
        load(saved.path, mmap=mmap)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*gone\.pt"):
        load(tmp_path / "gone.pt")


class Harmful:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        import os

        return os.system, ("touch harmed",)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"state_dict": {}}, "not a checkpoint of this program"),
        ([1, 2], "not a checkpoint of this program"),
        ({"format": 2, "info": {}, "state": {}}, "has format 2, this version reads 1"),
        ({"format": 1, "info": {"step": 1}, "state": {}}, "does not describe its run"),
        ({"format": 1, "info": {"config": "{}", "step": 1}, "state": {}}, "does not describe its run"),
        ({"format": 1, "info": 5, "state": {}}, "does not describe its run"),
        (Harmful(), "damaged, or is no checkpoint"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: object, words: str) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match=words):
        load(tmp_path / "other.pt")
    assert not (tmp_path / "harmed").exists()


def test_prune_keeps_the_newest(tmp_path: Path, state: dict[str, Any]) -> None:
    for step in (5, 10, 100):
        save(checkpoint_path(tmp_path, step), INFO, state)
    folder = tmp_path / "checkpoints"
    prune(folder, None)
    assert len(list(folder.iterdir())) == 3
    prune(folder, 2)
    assert sorted(path.name for path in folder.iterdir()) == ["step-00000010.pt", "step-00000100.pt"]
    prune(folder, 5)
    assert len(list(folder.iterdir())) == 2
