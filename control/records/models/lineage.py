"""Where an export's weights come from, back to the beginning, and under which licences."""

from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy.orm import Session

from control.db.models import Checkpoint, Dataset, DatasetVersion, ModelVersion, Run, Weights
from detco_core.contract.manifest import Lineage


def lineage_of(session: Session, source: Checkpoint | Weights) -> Lineage:
    """What a manifest says of the origin of a checkpoint or of imported weights."""
    licenses = dict(_licenses(session, source))
    if isinstance(source, Weights):
        return Lineage(weights=source.id, licenses=licenses)
    trained = session.get_one(Run, source.run_id)
    version = session.get(DatasetVersion, trained.dataset_version_id) if trained.dataset_version_id else None
    return Lineage(
        run=trained.id,
        checkpoint=source.id,
        step=source.step,
        dataset=trained.dataset,
        dataset_digest=version.digest if version else None,
        config_digest=trained.config_digest,
        method=trained.spec["config"]["method"]["name"],
        licenses=licenses,
    )


def inherited(lineage: Lineage) -> str | None:
    """The licence of an export for which none was named: that of all it came from, when they agree and all have one."""
    known = set(lineage.licenses.values())
    return known.pop() if len(known) == 1 and "" not in known else None


def _licenses(session: Session, source: Checkpoint | Weights) -> Iterator[tuple[str, str]]:
    """Every data set and all weights on the way here, and the licence of each; empty where none was named."""
    left: list[Checkpoint | Weights | ModelVersion | None] = [source]
    seen: set[str] = set()
    while left:
        here = left.pop()
        if here is None or here.id in seen:
            continue
        seen.add(here.id)
        match here:
            case Weights():
                yield f"weights {here.name or here.id}", here.license or ""
            case ModelVersion():
                yield from ((here.lineage or {}).get("licenses") or {here.ref: here.license or ""}).items()
            case Checkpoint():
                run = session.get_one(Run, here.run_id)
                yield from _dataset(session, run)
                given = {**(run.spec.get("init") or {}), **(run.spec.get("resume") or {})}
                found = _begun_with(session, given)
                if given and not any(found):
                    yield f"weights {given.get('weights_id')}, deleted since", ""
                left += found


def _dataset(session: Session, run: Run) -> Iterator[tuple[str, str]]:
    version = session.get(DatasetVersion, run.dataset_version_id) if run.dataset_version_id else None
    dataset = session.get(Dataset, version.dataset) if version else None
    if version is not None and dataset is not None:
        yield f"data set {version.ref}", dataset.license or ""


def _begun_with(session: Session, given: Mapping[str, Any]) -> list[Checkpoint | Weights | ModelVersion | None]:
    """What a run did not make itself: the weights it starts from, or the checkpoint it goes on from."""
    return [
        session.get(Checkpoint, given.get("checkpoint_id") or ""),
        session.get(Weights, given.get("weights_id") or ""),
        session.get(ModelVersion, given.get("model_version_id") or ""),
    ]
