"""The recipe of the comparison: one for both methods, whatever it does to either.

ResNet-18. Both methods see the same images for the same number of epochs, with the same batch, queue, temperature, key
momentum, learning rate and augmentation; what differs is the method. Of the published numbers those are changed that a
few thousand image passes cannot bear: a queue of a quarter to a half of the data set, a key momentum that can move in a
few hundred steps, and a learning rate for the smaller batch. They were chosen by one short look at a seed that is not
reported (`benchmarks/README.md` says what was seen), not tuned for either method. DetCo's loss is a weighted sum
of twelve terms (weights 6.6 together) and MoCo v2's a single one, so an equal learning rate is no equal step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from detco_core.contract.config import RunConfig, override
from detco_core.contract.presets import preset

RANDOM = "random"
PRESETS: Mapping[str, str] = {"moco_v2": "moco_v2_r18", "detco": "detco_r18"}
METHODS = (RANDOM, *PRESETS)
BACKBONE = "resnet18"

_CHECKPOINT_EVERY = 200
"""Steps: what a run that is cut off loses at most."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """How large the comparison is."""

    name: str
    epochs: int
    image_size: int
    """Side at which images are evaluated, in pixels."""
    overrides: Mapping[str, Any] = field(default_factory=dict)


PROFILES: Mapping[str, Profile] = {
    profile.name: profile
    for profile in (
        Profile(
            name="cpu",
            epochs=8,
            image_size=64,
            overrides={
                "train.batch_size": 32,
                "data.workers": 1,
                "data.decode_short_side": 128,
                "views.global_size": 64,
                "views.local_size": 96,
                "views.patch_size": 24,
                "method.queue_size": 256,
                "method.momentum": 0.99,
                "optim.lr": 0.01,
                "optim.warmup_steps": 20,
            },
        ),
        Profile(
            name="gpu",
            epochs=200,
            image_size=128,
            overrides={
                "train.batch_size": 64,
                "data.workers": 12,
                "data.decode_short_side": 256,
                "views.global_size": 128,
                "views.local_size": 144,
                "views.patch_size": 40,
                "method.queue_size": 256,
                "method.momentum": 0.99,
                "method.batch_norm": "split",
                "method.batch_norm_group": 16,
                "optim.lr": 0.02,
                "optim.warmup_steps": 40,
                "device.precision": "bf16",
            },
        ),
    )
}


def pretraining(profile: Profile, method: str, seed: int, device: str, epochs: int | None = None) -> RunConfig:
    """The config of one run; raises `KeyError` for `random`, which has none."""
    return override(
        preset(PRESETS[method]),
        {
            **profile.overrides,
            "train.checkpoint_every": _CHECKPOINT_EVERY,
            "seed": seed,
            "device.kind": device,
            "train.epochs": epochs or profile.epochs,
        },
    )
