"""What a job will take: by the speed of like ones this service has seen, else for a run by arithmetic."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from control.db.models import DatasetVersion, Run
from control.records.planning.layouts import Layout
from control.records.scheduling.workers import list_slots
from detco_core.contract.config import RunConfig
from detco_core.contract.cost import Cost, cost
from detco_core.contract.reader import digest, plain

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


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationEstimate:
    """Null where nothing is known."""

    seconds: float | None
    basis: str


class Estimator:
    """Estimates within one session; what it has looked up serves all of them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._speeds: dict[str, tuple[float | None, str]] = {}

    def run(self, config: RunConfig, gpus: int, images: int | None) -> Estimate:
        """What `config` takes on `gpus` processes over `images` files (None: not counted yet)."""
        steps = steps_of(config, images)
        figures = cost(config, gpus)
        speed, basis = self._speed(config, gpus, figures)
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

    def evaluation(self, task: str, options: Mapping[str, Any], images: int | None) -> EvaluationEstimate:
        """What an evaluation takes over `images` files, by those of its task and options that this service has done."""
        paces = self._evaluation_paces(task, options)
        if not paces:
            return EvaluationEstimate(
                seconds=None, basis=f"unknown: no {task} with these options has been measured by this service"
            )
        if images is None:
            return EvaluationEstimate(seconds=None, basis="unknown: the images are not counted yet")
        basis = f"measured: the median time an image of {len(paces)} {task} with these options, on any backbone"
        return EvaluationEstimate(seconds=statistics.median(paces) * images, basis=basis)

    def _speed(self, config: RunConfig, gpus: int, figures: Cost | None) -> tuple[float | None, str]:
        wanted = _likeness(plain(config), gpus)
        key = digest(wanted)
        if key not in self._speeds:
            seen = [speed for like, speed in self._history if like == wanted]
            self._speeds[key] = self._measured(seen) or self._assumed(config, gpus, figures)
        return self._speeds[key]

    @staticmethod
    def _measured(seen: Sequence[float]) -> tuple[float, str] | None:
        """Images a second over all processes, and where the figure comes from."""
        if not seen:
            return None
        return statistics.median(seen), f"measured: the median of {len(seen)} like run(s) of this service"

    def _assumed(self, config: RunConfig, gpus: int, figures: Cost | None) -> tuple[float | None, str]:
        if figures is None:
            return None, f"unknown: no figures for {config.method.backbone}, and no like run of this service"
        device, teraflops = _device(self._session)
        text = (
            f"arithmetic: {figures.flops_per_image / 1e9:.1f} GFLOP an image at an assumed {teraflops:g} TFLOP/s for "
            f"each of {gpus} x {device}; no like run of this service has been measured"
        )
        return gpus * teraflops * 1e12 / figures.flops_per_image, text

    @cached_property
    def _history(self) -> list[tuple[dict[str, Any], float]]:
        """What the newest runs were like, and their speeds in images a second."""
        query = select(Run.spec, Run.progress).where(Run.kind == "pretrain", Run.progress.is_not(None))
        rows = self._session.execute(query.order_by(Run.id.desc()).limit(_LOOK_BACK))
        found = [(spec, (progress or {}).get("images_per_second") or 0.0) for spec, progress in rows]
        return [(_likeness(spec["config"], Layout.of(spec).processes), speed) for spec, speed in found if speed > 0]

    def _evaluation_paces(self, task: str, options: Mapping[str, Any]) -> list[float]:
        """Seconds an image of like evaluations that ended at their first attempt."""
        query = (
            select(Run.spec, Run.started_at, Run.finished_at, DatasetVersion.images)
            .join(DatasetVersion, DatasetVersion.id == Run.dataset_version_id)
            .where(Run.kind == "evaluate", Run.state == "completed", Run.attempt == 1)
        )
        rows = self._session.execute(query.order_by(Run.id.desc()).limit(_LOOK_BACK))
        return [
            (finished - started).total_seconds() / images
            for spec, started, finished, images in rows
            if spec["task"] == task and spec["options"] == options and started and finished and images
        ]


def estimate(session: Session, config: RunConfig, gpus: int, images: int | None) -> Estimate:
    """What one run takes; see `Estimator.run`."""
    return Estimator(session).run(config, gpus, images)


def steps_of(config: RunConfig, images: int | None) -> int | None:
    """The whole length of a run in steps; None when it goes by epochs over images that are not counted yet."""
    if config.train.steps is not None:
        return config.train.steps
    return (
        None
        if images is None or config.train.epochs is None
        else images // config.train.batch_size * config.train.epochs
    )


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
