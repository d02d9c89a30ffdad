"""Says where a config leaves the published recipe, so that nobody takes a changed run for a reproduction.

Published means DetCo (Xie et al., ICCV 2021) for `detco`, MoCo v2 (Chen et al., 2020) for `moco_v2`; where the paper
is silent our choice is written in the preset, and leaving it counts as well. What cannot change the numbers is not
compared: speed and logging, and settings of what is switched off.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from detco_core.contract.config import RunConfig
from detco_core.contract.presets import PRESETS
from detco_core.contract.reader import plain

PUBLISHED_EPOCHS = {"detco": (100, 200, 800), "moco_v2": (200, 800)}
PUBLISHED_GPUS = 8

_FREE = ("preset", "seed", "data", "device", "monitor", "alarms", "track", "train")
"""Branches that do not change the method; what in `device` and `train` does is compared apart."""
_LOCAL = (
    "method.local_head",
    "views.local_size",
    "views.local_scale",
    "views.grid",
    "views.patch_size",
    "views.patch_colors",
)
"""Settings of the local views."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Deviation:
    """One difference from the published recipe; `key` is dotted, as in overrides."""

    key: str
    published: Any
    here: Any
    note: str = ""


def deviations(config: RunConfig, gpus: int = 1) -> tuple[Deviation, ...]:
    """Every difference of `config`, run on `gpus` processes, from what was published for its method."""
    return (*_length(config), *_method(config), *_machine(config, gpus))


def published(config: RunConfig) -> RunConfig:
    """The published recipe nearest to `config`: its method's ResNet-50 preset."""
    if config.method.name == "moco_v2":
        return PRESETS["moco_v2_r50"]()
    return PRESETS["detco_r50_aa" if config.views.augment != "none" else "detco_r50"]()


def _length(config: RunConfig) -> Iterator[Deviation]:
    lengths = PUBLISHED_EPOCHS.get(config.method.name, PUBLISHED_EPOCHS["detco"])
    if config.train.epochs not in lengths:
        key, here = (
            ("train.epochs", config.train.epochs) if config.train.epochs else ("train.steps", config.train.steps)
        )
        yield Deviation(key=key, published=f"{' or '.join(map(str, lengths))} epochs of ImageNet-1k", here=here)
    batch = published(config).train.batch_size
    if config.train.batch_size != batch:
        note = "the learning rate is for this batch size and is not scaled"
        yield Deviation(key="train.batch_size", published=batch, here=config.train.batch_size, note=note)
    if config.train.accumulate != 1:
        note = "batch norm sees a micro-batch at a time"
        yield Deviation(key="train.accumulate", published=1, here=config.train.accumulate, note=note)


def _method(config: RunConfig) -> Iterator[Deviation]:
    ours, theirs = dict(_leaves(plain(config))), dict(_leaves(plain(published(config))))
    idle = set(_idle(config))
    for key, value in theirs.items():
        if key.split(".")[0] not in _FREE and key not in idle and ours[key] != value:
            yield Deviation(key=key, published=value, here=ours[key])


def _idle(config: RunConfig) -> Iterator[str]:
    """Settings of what this config has switched off."""
    if config.method.batch_norm != "split":
        yield "method.batch_norm_group"
    if config.views.augment != "rand_augment":
        yield from ("views.rand_augment_ops", "views.rand_augment_magnitude")
    if config.method.term_weights.l2l == config.method.term_weights.l2g == 0:
        yield from _LOCAL


def _machine(config: RunConfig, gpus: int) -> Iterator[Deviation]:
    if config.device.precision != "fp32":
        yield Deviation(key="device.precision", published="fp32", here=config.device.precision)
    if gpus != PUBLISHED_GPUS and config.method.batch_norm == "shuffle":
        note = (
            "with one process shuffle BN has nothing to shuffle"
            if gpus == 1
            else f"batch norm takes its statistics over a batch's {gpus}th part, not an eighth"
        )
        yield Deviation(key="gpus", published=PUBLISHED_GPUS, here=gpus, note=note)


def _leaves(tree: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{path}{key}.")
        else:
            yield f"{path}{key}", value
