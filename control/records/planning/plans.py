"""Turns what a person asks of a pretraining run into what would be run, with what they should know before it is."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from control.db.models import DatasetVersion
from control.errors import InvalidRequest
from control.records.datasets.datasets import resolve
from control.records.models.sources import Origin, resolve_init
from control.records.planning.estimates import Estimate, estimate
from control.records.planning.layouts import Layout
from control.records.planning.monitors import coarse, plan_monitor
from control.records.scheduling.workers import list_slots
from detco_core.contract.advice import advice
from detco_core.contract.config import RunConfig, override
from detco_core.contract.cost import NETWORKS
from detco_core.contract.datasets import fits_channels
from detco_core.contract.paper import PUBLISHED_EPOCHS, Deviation, deviations
from detco_core.contract.presets import preset
from detco_core.contract.reader import plain

_IF_NONE = "the run fails if its worker has none of that name"
_SHARES = ("it", "gpus times nodes")
_INIT_REMEDY = "give init {weights: ID}, {model: NAME} or {run: ID, checkpoint}, or set train.warm_start to false"


@dataclass(frozen=True, slots=True)
class Warned:
    """Something to know before the run is started; `code` is a stable word."""

    code: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Start:
    """What a run begins with instead of random weights."""

    init: dict[str, Any] | None = None
    """Weights: a resolved source (`sources.Origin`) and `strict`."""
    resume: dict[str, Any] | None = None
    """All of another run's state: `{run, checkpoint_id, allow_world_size_change}`."""
    forked_from: str | None = None
    """The run it goes on from, as a person sees it."""
    after: tuple[str, ...] = ()
    """Jobs that must have ended before it can begin."""
    warnings: tuple[Warned, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What would be run."""

    config: RunConfig
    """Resolved: the preset with the overrides."""
    dataset: DatasetVersion
    layout: Layout
    start: Start
    warnings: tuple[Warned, ...]
    monitor: dict[str, Any] | None = None
    """The evaluation of its checkpoints that defines the best; see `monitors.plan_monitor`."""

    @property
    def deviations(self) -> tuple[Deviation, ...]:
        """From the published recipe."""
        found = deviations(self.config, self.layout.processes)
        if self.start.init is None:
            return found
        return (*found, Deviation(key="init", published="random weights", here="given weights"))

    @property
    def spec(self) -> dict[str, Any]:
        """`runs.spec` of a pretraining run."""
        return {
            "config": plain(self.config),
            "dataset_version_id": self.dataset.id,
            **self.layout._asdict(),
            "init": self.start.init,
            "resume": self.start.resume,
            "monitor": self.monitor,
        }

    def estimate(self, session: Session) -> Estimate:
        """What it will take."""
        return estimate(session, self.config, self.layout.processes, self.dataset.images)


def plan(
    session: Session,
    preset_name: str,
    overrides: Mapping[str, Any],
    dataset: str,
    gpus: int,
    init: Mapping[str, Any] | None = None,
    nodes: int = 1,
) -> Plan:
    """The resolved run.

    Raises:
        InvalidDocument: an unknown preset (`preset`), or keys and values of the overrides (`overrides`, `run config`).
        InvalidRequest: the numbers do not fit each other, the data or the weights.
        NotFound, NotReady: there is no such data set or source, or its scan or import failed.
    """
    config = override(preset(preset_name), overrides)
    layout = Layout(gpus, nodes)
    return plan_config(session, config, resolve(session, dataset), layout, start_from(session, config, init))


def plan_config(session: Session, config: RunConfig, version: DatasetVersion, layout: Layout, start: Start) -> Plan:
    """The run of a resolved config; raises as `plan`."""
    _check_fit(config, version, layout)
    if config.train.warm_start and start.init is None and start.resume is None:
        raise InvalidRequest("init", f"{config.preset} starts from given weights: {_INIT_REMEDY}")
    monitor = plan_monitor(session, config)
    warnings = (*_warnings(session, config, version, layout), *start.warnings)
    return Plan(config=config, dataset=version, layout=layout, start=start, warnings=warnings, monitor=monitor)


def start_from(session: Session, config: RunConfig, init: Mapping[str, Any] | None) -> Start:
    """The beginning that `init` asks for; raises as `sources.resolve_init`."""
    if init is None:
        return Start()
    origin = resolve_init(session, init, config.method.backbone)
    return Start(init=origin.spec, after=origin.after, warnings=tuple(_origin_warnings(config, origin)))


def _check_fit(config: RunConfig, version: DatasetVersion, layout: Layout) -> None:
    batch = config.train.batch_size
    if batch % layout.processes:
        multiple = f"train.batch_size ({batch}) must be a multiple of {_SHARES[layout.nodes > 1]}"
        raise InvalidRequest("gpus", f"{multiple}: it is shared out evenly")
    other = [count for count in version.channels or {} if not fits_channels(int(count), config.views.channels)]
    if other:
        message = f"{version.ref} holds images of {' and '.join(other)} channels: set it to that, or scan without them"
        raise InvalidRequest("overrides.views.channels", message)
    if version.images is not None and version.images < batch:
        message = f"{version.ref} has {version.images} images, fewer than one batch: lower train.batch_size ({batch})"
        raise InvalidRequest("dataset", message)
    tracking = config.track.mlflow_uri
    if tracking is not None and not tracking.startswith(("http://", "https://")):
        # A folder would let whoever may submit runs write anywhere the worker may.
        raise InvalidRequest(
            "overrides.track.mlflow_uri", "must be the http:// or https:// address of a tracking server"
        )


def _warnings(session: Session, config: RunConfig, version: DatasetVersion, layout: Layout) -> Iterator[Warned]:
    if version.state != "ready":
        yield Warned("dataset_scanning", f"{version.ref} is still being scanned: the run waits, and nothing is counted")
    if version.broken:
        count = version.broken_count or len(version.broken)
        yield Warned("broken_files", f"{count} files of {version.ref} cannot be read and are left out")
    if (rarely := coarse(config, version)) is not None:
        yield Warned("monitor_coarse", rarely)
    for known in advice(config, version.images):
        yield Warned(known.code, known.message)
    if config.method.backbone not in NETWORKS:
        yield Warned(
            "unknown_backbone", f"{config.method.backbone!r} is not known here: {_IF_NONE}, and nothing is estimated"
        )
    if config.method.name not in PUBLISHED_EPOCHS:
        message = (
            f"{config.method.name!r} is none of {', '.join(PUBLISHED_EPOCHS)}: the run fails unless its worker has it"
        )
        yield Warned("unknown_method", f"{message} installed (entry points `detco.methods`)")
    if (short := _too_few_slots(session, layout)) is not None:
        yield Warned("too_few_slots", f"{short}: the run waits")


def _too_few_slots(session: Session, layout: Layout) -> str | None:
    hosts = Counter(slot.host for slot in list_slots(session) if slot.purpose == "train")
    enough = sum(count >= layout.gpus for count in hosts.values())
    if enough >= layout.nodes:
        return None
    if enough:
        return f"only {enough} of {layout.nodes} hosts with {layout.gpus} training slots are there"
    return f"no host has {layout.gpus} training slots (the largest has {max(hosts.values(), default=0)})"


def _origin_warnings(config: RunConfig, origin: Origin) -> Iterator[Warned]:
    if origin.after:
        yield Warned("weights_checking", "the weights are still being checked: the run waits")
    if origin.architecture not in (None, config.method.backbone):
        message = f"the weights are a {origin.architecture}, the run's backbone is {config.method.backbone}"
        yield Warned("other_architecture", f"{message}: only what fits is taken")
