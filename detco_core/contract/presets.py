"""Named starting points. Each function returns a whole config; variants change a few fields of another."""

from collections.abc import Callable, Mapping
from dataclasses import replace

from detco_core.contract.config import (
    DataConfig,
    MethodConfig,
    OptimConfig,
    RunConfig,
    TermWeights,
    TrainConfig,
    ViewsConfig,
)
from detco_core.contract.errors import Fault, InvalidDocument


def detco_r50() -> RunConfig:
    """DetCo as published: ResNet-50, 200 epochs, batch 256, eight queues of 65,536."""
    return RunConfig(preset="detco_r50")


def detco_r50_aa() -> RunConfig:
    """DetCo with RandAugment on the global views: the paper's "AA" (strength unpublished: ours)."""
    base = detco_r50()
    return replace(base, preset="detco_r50_aa", views=replace(base.views, augment="rand_augment"))


def detco_r18() -> RunConfig:
    """DetCo on ResNet-18, for smaller data and machines."""
    base = detco_r50()
    return replace(base, preset="detco_r18", method=replace(base.method, backbone="resnet18"))


def detco_r50_domain() -> RunConfig:
    """DetCo continued on pictures of your own: starts from given weights, for a fixed number of steps (our recipe)."""
    base = detco_r50()
    return replace(
        base,
        preset="detco_r50_domain",
        train=replace(base.train, epochs=None, steps=20_000, warm_start=True),
        method=replace(base.method, queue_size=16_384),
        optim=replace(base.optim, lr=0.01, warmup_steps=500),
    )


def moco_v2_r50() -> RunConfig:
    """MoCo v2, the baseline: one global head on res5 and one queue."""
    method = MethodConfig(
        name="moco_v2", stage_weights=(0.0, 0.0, 0.0, 1.0), term_weights=TermWeights(g2g=1.0, l2l=0.0, l2g=0.0)
    )
    return RunConfig(preset="moco_v2_r50", method=method)


def moco_v2_r18() -> RunConfig:
    """MoCo v2 on ResNet-18."""
    base = moco_v2_r50()
    return replace(base, preset="moco_v2_r18", method=replace(base.method, backbone="resnet18"))


def smoke() -> RunConfig:
    """The full DetCo path, as small as it goes: to see that everything works, not to learn anything."""
    return RunConfig(
        preset="smoke",
        train=TrainConfig(epochs=None, steps=20, batch_size=16, checkpoint_every=5, log_every=1),
        data=DataConfig(workers=1, decode_short_side=256),
        views=ViewsConfig(global_size=96, local_size=129, patch_size=32),
        method=MethodConfig(backbone="resnet18", queue_size=256),
        optim=OptimConfig(lr=0.03),
    )


PRESETS: Mapping[str, Callable[[], RunConfig]] = {
    maker.__name__: maker
    for maker in (detco_r50, detco_r50_aa, detco_r50_domain, detco_r18, moco_v2_r50, moco_v2_r18, smoke)
}


def preset(name: str) -> RunConfig:
    """The config of a preset by name; raises `InvalidDocument` listing the names there are."""
    if name not in PRESETS:
        raise InvalidDocument("preset", (Fault("preset", f"{name!r} is not one of {', '.join(PRESETS)}"),))
    return PRESETS[name]()
