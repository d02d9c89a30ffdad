"""The backbone inside a checkpoint, and the digest by which equal weights are known."""

import hashlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from detco_core.contract.errors import CheckpointError
from detco_core.nets.backbone import StageBackbone, make_backbone
from detco_core.runtime.checkpoint import CheckpointInfo, load

QUERY_BACKBONE = "query.backbone."
"""Prefix of the query encoder's backbone in a method's state."""


def backbone_from_checkpoint(path: Path, sha256: str | None = None) -> tuple[StageBackbone, CheckpointInfo]:
    """The query encoder's backbone of a checkpoint, on the CPU in eval mode, and what the checkpoint says of itself.

    Raises:
        CheckpointError: the file is missing, damaged, has another digest, or its tensors do not fit its config.
    """
    checkpoint = load(path, sha256, mmap=True)
    tensors = {
        name.removeprefix(QUERY_BACKBONE): tensor
        for name, tensor in checkpoint.state["method"].items()
        if name.startswith(QUERY_BACKBONE)
    }
    config = checkpoint.info.config
    backbone = make_backbone(config.method.backbone, config.views.channels)
    try:
        backbone.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"the tensors in checkpoint {path} do not fit its config: {error}") from error
    return backbone.eval(), checkpoint.info


def state_digest(state: Mapping[str, Tensor]) -> str:
    """`sha256:...` of the tensors themselves: names in order, dtype, shape, little-endian bytes.

    Independent of device, memory format, dict order and file format: equal weights, equal digest.
    """
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        shape = ",".join(map(str, tensor.shape))
        digest.update(f"{name}\0{str(tensor.dtype).removeprefix('torch.')}\0{shape}\0".encode())
        digest.update(_little_endian(tensor))
    return "sha256:" + digest.hexdigest()


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write a plain dict of CPU tensors, which loads with `weights_only=True`; on disk when this returns.

    Equal tensors give equal bytes with the same torch, whatever the file is called.
    """
    with path.open("wb") as file:
        torch.save({name: _plain(tensor) for name, tensor in tensors.items()}, file)
        file.flush()
        os.fsync(file.fileno())


def _plain(tensor: Tensor) -> Tensor:
    """A copy on the CPU whose strides follow from its shape: `contiguous` would keep odd ones of 1x1 kernels."""
    return torch.empty(tensor.shape, dtype=tensor.dtype).copy_(tensor.detach())


def _little_endian(tensor: Tensor) -> bytes:
    # bfloat16 has no NumPy twin, so the bytes are taken from a byte view.
    raw = tensor.reshape(-1).view(torch.uint8).numpy()
    if sys.byteorder == "big":
        raw = raw.reshape(-1, tensor.element_size())[:, ::-1]
    return raw.tobytes()
