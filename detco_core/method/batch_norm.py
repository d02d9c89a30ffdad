"""Which company batch norm keeps: put into a network as a config asks, and said in one sentence for the run's record.

Batch statistics let a query recognise its key by the company both were computed in; each choice but `plain` is a way to
stop that (MoCo, He et al. 2020, section 3.3).
"""

from torch import nn

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.nets.batch_norm import has_batch_norm, split, synchronise
from detco_core.nets.stages import StageBackbone
from detco_core.runtime import distributed


def fit_batch_norm(network: nn.Module, config: RunConfig) -> None:
    """Exchange the batch norms of `network` as `method.batch_norm` says; shuffle and plain keep torch's own.

    Raises:
        InvalidDocument: the images do not divide into virtual groups, or the network's batch norm is of its own kind.
    """
    if config.method.batch_norm == "split":
        split(network, _groups(config))
    elif config.method.batch_norm == "sync":
        synchronise(network)


def require_two_values(backbone: StageBackbone, config: RunConfig) -> None:
    """Refuse a batch norm that would take its statistics of a single value: one image, whose last map is one pixel.

    Raises:
        InvalidDocument: naming the batch size.
    """
    kind, size = config.method.batch_norm, config.views.global_size
    images = _at_once(config) * (distributed.world_size() if kind == "sync" else 1)
    if images == 1 and size <= backbone.strides[-1] and has_batch_norm(backbone):
        message = (
            f"one image at once, of which {size} pixels leave a single one in the last stage, gives batch norm no "
            "second value: raise it, views.global_size, or lower train.accumulate"
        )
        raise InvalidDocument("run config", (Fault("train.batch_size", message),))


def describe_batch_norm(network: nn.Module, config: RunConfig) -> str:
    """One sentence: over which images batch norm takes its statistics here, and whether keys are shuffled."""
    if not has_batch_norm(network):
        return "none: the network has no batch norm"
    kind, world = config.method.batch_norm, distributed.world_size()
    batch, images = config.train.batch_size, _at_once(config)
    if kind == "split":
        group = config.method.batch_norm_group
        return f"split, over virtual groups of {group} of {batch} images, keys shuffled among them{_saved(world)}"
    if world == 1:
        note = {"shuffle": "shuffle BN", "sync": "SyncBN"}.get(kind)
        return f"plain, over all {images} images" + (f"; {note} has no effect with one process" if note else "")
    if kind == "sync":
        return f"sync, over {world * images} of {batch} images in {world} processes, keys not shuffled"
    keys = "keys shuffled across processes" if kind == "shuffle" else "keys not shuffled"
    return f"per process, over {images} of {batch} images, {keys}{_saved(world)}"


def _at_once(config: RunConfig) -> int:
    """Images a process computes at once."""
    return config.train.batch_size // config.train.accumulate // distributed.world_size()


def _groups(config: RunConfig) -> int:
    images, group = _at_once(config), config.method.batch_norm_group
    if images % group:
        message = f"must divide the {images} images a process computes at once"
        raise InvalidDocument("run config", (Fault("method.batch_norm_group", message),))
    return images // group


def _saved(world: int) -> str:
    return "; statistics saved are rank 0's" if world > 1 else ""
