"""What a run will take: by the speed of like runs this service has seen, else by arithmetic and an assumed device."""

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import Run
from control.records.workers import list_slots
from detco_core.contract.config import RunConfig
from detco_core.contract.cost import Cost, cost
from detco_core.contract.reader import plain

_LOOK_BACK = 200
"""Newest runs that are searched for like ones."""
_START_SECONDS = 15.0
"""A process starts, imports torch and opens its data."""
_ASSUMED_TERAFLOPS = (("H200", 140.0), ("H100", 98.0), ("A100", 60.0), ("V100", 5.0), ("", 20.0))
"""Sustained in training a ResNet, by a word in the GPU's name; the last is for all others."""
_ASSUMED_CPU_TERAFLOPS = 0.1


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """Null where nothing is known."""

    seconds: float | None
    images_per_second: float | None
    steps: int | None
    memory_bytes: int | None
    """Of each training process."""
    disk_bytes: int | None
    """Of all checkpoints."""
    basis: str


def estimate(session: Session, config: RunConfig, gpus: int, images: int | None) -> Estimate:
    """What `config` takes on `gpus` processes over `images` files (None: not counted yet)."""
    steps = steps_of(config, images)
    figures = cost(config, gpus)
    speed, basis = _speed(session, config, gpus, figures)
    seconds = None if speed is None or steps is None else _START_SECONDS + steps * config.train.batch_size / speed
    checkpoints = None if steps is None else -(-steps // config.train.checkpoint_every)
    return Estimate(
        seconds=seconds,
        images_per_second=speed,
        steps=steps,
        memory_bytes=figures.memory_bytes if figures else None,
        disk_bytes=figures.checkpoint_bytes * checkpoints if figures and checkpoints else None,
        basis=basis,
    )


def steps_of(config: RunConfig, images: int | None) -> int | None:
    """The whole length of a run in steps; None when it goes by epochs over images that are not counted yet."""
    if config.train.steps is not None:
        return config.train.steps
    return (
        None
        if images is None or config.train.epochs is None
        else images // config.train.batch_size * config.train.epochs
    )


def _speed(session: Session, config: RunConfig, gpus: int, figures: Cost | None) -> tuple[float | None, str]:
    """Images a second over all processes, and where the figure comes from."""
    seen = _seen(session, config, gpus)
    if seen:
        return statistics.median(seen), f"measured: the median of {len(seen)} like run(s) of this service"
    if figures is None:
        return None, f"unknown: no figures for {config.method.backbone}, and no like run of this service"
    device, teraflops = _device(session)
    text = (
        f"arithmetic: {figures.flops_per_image / 1e9:.1f} GFLOP an image at an assumed {teraflops:g} TFLOP/s for each "
        f"of {gpus} x {device}; no like run of this service has been measured"
    )
    return gpus * teraflops * 1e12 / figures.flops_per_image, text


def _seen(session: Session, config: RunConfig, gpus: int) -> list[float]:
    """Speeds of like runs, in images a second."""
    query = select(Run.spec, Run.progress).where(Run.kind == "pretrain", Run.progress.is_not(None))
    wanted = _likeness(plain(config), gpus)
    rows = session.execute(query.order_by(Run.id.desc()).limit(_LOOK_BACK))
    found = [(progress or {}).get("images_per_second", 0.0) for spec, progress in rows if _is_like(spec, wanted)]
    return [speed for speed in found if speed > 0]


def _is_like(spec: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return _likeness(spec["config"], spec["gpus"]) == wanted


def _likeness(config: Mapping[str, Any], gpus: int) -> dict[str, Any]:
    """What the speed depends on."""
    method = {key: config["method"][key] for key in ("name", "backbone", "local_head", "queue_size")}
    batch = config["train"]["batch_size"]
    return method | {"views": plain(config["views"]), "device": config["device"], "batch": batch, "gpus": gpus}


def _device(session: Session) -> tuple[str, float]:
    names = [slot.name for slot in list_slots(session) if slot.is_gpu and slot.purpose == "train"]
    if not names:
        return "CPU", _ASSUMED_CPU_TERAFLOPS
    return names[0], next(figure for word, figure in _ASSUMED_TERAFLOPS if word in names[0])
