"""Checkpoints as a worker registers them, without a worker."""

import hashlib
from collections.abc import Mapping

from sqlalchemy import Engine

from control.db.models import Checkpoint, Run
from control.db.session import unit_of_work
from control.records.runs import checkpoints
from control.records.store import objects
from control.storage.base import key_of


def save(engine: Engine, run_id: str, contents: Mapping[int, bytes]) -> list[str]:
    """Register checkpoints of these contents by step, an epoch each; their ids."""
    ids = []
    with unit_of_work(engine) as session:
        run = session.get_one(Run, run_id)
        for step, content in contents.items():
            digest = hashlib.sha256(content).hexdigest()
            objects.hold(session, key_of(digest), len(content))
            row = Checkpoint(run_id=run_id, fence=1, step=step, epoch=float(step), bytes=len(content))
            row.digest, row.key, row.created_by = f"sha256:{digest}", key_of(digest), "test"
            session.add(row)
            session.flush()
            run.stored_bytes += len(content)
            ids.append(row.id)
        checkpoints.reconsider(session, run_id)
    return ids
