"""A whole control plane in a temporary folder, and runs to work on."""

import hashlib
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from control.db.models import Attempt, Checkpoint, Dataset, DatasetVersion, Run, RunEvent
from control.db.session import read_only, unit_of_work
from control.records.journal import history, logs
from control.records.life import leases
from control.records.life.leases import Outcome
from control.records.runs.kinds import Kind, Queue
from control.records.runs.submission import NewRun, create_run
from control.records.scheduling import claims
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import NewSlot, NewWorker, WorkerIdentity, register
from control.settings import Settings
from control.states import Ending
from control.storage.base import Store, file_digest, key_of
from detco_core.contract.config import override
from detco_core.contract.presets import smoke
from detco_core.contract.reader import plain
from worker.attempts.services import Services

CHILDREN = Path(__file__).with_name("children.py")


def weights_after(steps: int) -> bytes:
    """The stand-in job's "weights" after so many steps, all made exactly once."""
    state = ""
    for step in range(1, steps + 1):
        state = hashlib.sha256(f"{state}/{step}".encode()).hexdigest()
    return state.encode()


def hold(folder: Path) -> None:
    """Keep the stand-in jobs of the run whose attempts lie in `folder` from their last step."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "hold").touch()


def release(folder: Path) -> None:
    """Let them make it."""
    (folder / "hold").unlink()


@dataclass(frozen=True)
class House:
    """Database, store and one worker with its slots, and the ways tests look at them."""

    services: Services
    worker: WorkerIdentity
    photos: DatasetVersion

    @property
    def settings(self) -> Settings:
        return self.services.settings

    @property
    def engine(self) -> Engine:
        return self.services.engine

    @property
    def store(self) -> Store:
        return self.services.store

    def submit(self, kind: Kind = "pretrain", spec: dict[str, Any] | None = None, **more: Any) -> str:
        with unit_of_work(self.engine) as session:
            wanted = NewRun(kind=kind, spec=spec or {}, actor="test", **more)
            return create_run(session, wanted).id

    def pretraining(
        self,
        behaviour: str = "well",
        *,
        steps: int = 6,
        every: int = 2,
        seconds: float = 0.02,
        processes: int = 1,
        nodes: int = 1,
        held: bool = False,
        **terms: Any,
    ) -> str:
        """A queued run of the stand-in job; it does not make its last step while it is `held`."""
        overrides = {
            "preset": behaviour,
            "train.steps": steps,
            "train.checkpoint_every": every,
            "optim.lr": seconds,
        }
        config = plain(override(smoke(), overrides))
        spec = {"config": config, "dataset_version_id": self.photos.id, "gpus": processes, "nodes": nodes, "init": None}
        more = {
            "dataset_version_id": self.photos.id,
            "config_digest": "sha256:" + "c" * 64,
            "gpus": processes,
            "nodes": nodes,
        }
        run_id = self.submit("pretrain", spec, **more, **terms)
        if held:
            hold(self.settings.work_dir / run_id)
        return run_id

    def writer(self) -> sqlite3.Connection:
        """A connection of a stranger, who keeps all others from writing once he has begun."""
        return sqlite3.connect(self.settings.data_dir / "detco.sqlite3", timeout=60, isolation_level=None)

    def release(self, run_id: str) -> None:
        """Let a run that is held come to its end."""
        release(self.settings.work_dir / run_id)

    def join(self, host: str, *slots: str) -> WorkerIdentity:
        """A worker of another host."""
        with unit_of_work(self.engine) as session:
            roots = self.settings.resolved_dataset_roots
            given = tuple(NewSlot(uuid=uuid, purpose="train") for uuid in slots)
            return register(session, NewWorker(host=host, pid=1, software="test", roots=roots, slots=given))

    def claim(self, queue: Queue = "gpu", worker: WorkerIdentity | None = None) -> Claim:
        with unit_of_work(self.engine) as session:
            claim = claims.claim(session, worker or self.worker, queue, self.settings.lease_seconds)
        assert claim is not None
        return claim

    def close(self, claim: Claim, kind: Ending = "lost") -> bool:
        with unit_of_work(self.engine) as session:
            return leases.close(session, claim.run_id, claim.fence, Outcome(kind=kind))

    def run(self, run_id: str) -> Run:
        with read_only(self.engine) as session:
            return session.get_one(Run, run_id)

    def ask(self, question: Callable[[Session], Any]) -> Any:
        with read_only(self.engine) as session:
            return question(session)

    def attempts(self, run_id: str) -> list[Attempt]:
        with read_only(self.engine) as session:
            return history.list_attempts(session, run_id)

    def events(self, run_id: str, kind: str) -> list[RunEvent]:
        return [e for e in self.ask(lambda s: history.list_events(s, run_id)) if e.type == kind]

    def states(self, run_id: str) -> list[str]:
        return [event.payload["state"] for event in self.events(run_id, "state")]

    def artifact(self, run_id: str, name: str) -> bytes:
        found = {artifact.name: artifact for artifact in self.ask(lambda s: history.list_artifacts(s, run_id))}
        return b"".join(self.store.open_range(found[name].key))

    def log(self, run_id: str, fence: int, node: int = 0) -> bytes:
        """All that is kept of what an attempt printed."""
        found = self.ask(lambda s: logs.stretches(s, run_id, fence, node, 0, 2**60, limit=10_000))
        kept = ((piece.data, piece.key) for piece in found)
        return b"".join(b"".join(self.store.open_range(key)) if data is None else data for data, key in kept)

    def store_file(self, path: Path) -> str:
        """Put a file into the store; its digest."""
        digest = file_digest(path)
        assert self.store.put(path, digest) == key_of(digest)
        return digest

    def checkpoint(self, run_id: str, step: int, content: bytes, fence: int = 0) -> str:
        """Register a checkpoint whose content is in the store; its id."""
        path = self.settings.data_dir / f"checkpoint-{step}"
        path.write_bytes(content)
        digest = self.store_file(path)
        with unit_of_work(self.engine) as session:
            row = Checkpoint(
                run_id=run_id,
                fence=fence,
                step=step,
                epoch=0.0,
                bytes=len(content),
                digest=digest,
                key=key_of(digest),
                created_by="test",
            )
            session.add(row)
            session.flush()
            return row.id


def add_photos(session: Session, store: Store, folder: Path) -> DatasetVersion:
    """A data set that is ready, with an empty manifest."""
    manifest = folder / "manifest.jsonl"
    manifest.touch()
    digest = file_digest(manifest)
    store.put(manifest, digest)
    made = {"kind": "images", "root": str(folder), "created_by": "test"}
    session.add(Dataset(name="photos", uri=str(folder), **made))
    session.flush()
    version = DatasetVersion(
        dataset="photos", number=1, exclude=[], state="ready", digest=digest, manifest_key=key_of(digest), **made
    )
    session.add(version)
    session.flush()
    return version
