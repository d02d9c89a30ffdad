from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine

from control.db.models import Alias, Checkpoint, Model, ModelVersion, Weights
from control.db.session import unit_of_work
from control.errors import InvalidRequest, NotFound, NotReady
from control.records.sources import resolve_source
from control.storage.base import key_of


def test_a_checkpoint_of_a_run(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id, digest = make_run(), f"sha256:{'a' * 64}"
    with unit_of_work(engine) as session, pytest.raises(NotReady):
        resolve_source(session, {"run": run_id})
    row = Checkpoint(
        run_id=run_id, fence=1, step=1, epoch=1.0, bytes=1, digest=digest, key=key_of(digest), created_by="t"
    )
    with unit_of_work(engine) as session:
        session.add(row)
        session.flush()
        for source in ({"run": run_id}, {"run": run_id, "checkpoint": "last"}, {"run": run_id, "checkpoint": row.id}):
            assert resolve_source(session, source) == {"run": run_id, "checkpoint_id": row.id}


def test_only_pretraining_has_checkpoints(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run(kind="evaluate")
    with unit_of_work(engine) as session, pytest.raises(NotFound):
        resolve_source(session, {"run": run_id})


def test_a_model(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        session.add(Model(name="net", last_number=1, created_by="t"))
        session.flush()
        version = ModelVersion(model="net", number=1, state="ready", formats=[], created_by="t")
        session.add(version)
        session.flush()
        session.add(Alias(model="net", name="production", model_version_id=version.id, number=1, created_by="t"))
        assert resolve_source(session, {"model": "net"}) == {"model_version_id": version.id}


def test_random_weights(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        assert resolve_source(session, {"weights": "random"}, seed=7) == {
            "weights": "random",
            "backbone": "resnet18",
            "seed": 7,
        }
        named = {"weights": "random", "backbone": "resnet50", "seed": 1}
        assert resolve_source(session, named) == named


def test_foreign_weights(engine: Engine) -> None:
    weights = Weights(name="official", uri="/w.pth", architecture="resnet50", created_by="t")
    with unit_of_work(engine) as session:
        session.add(weights)
        session.flush()
        with pytest.raises(NotReady, match="checking"):
            resolve_source(session, {"weights": "official"})
        weights.state = "ready"
        for name in ("official", weights.id):
            assert resolve_source(session, {"weights": name}) == {"weights_id": weights.id}
        with pytest.raises(NotFound, match="no weights 'none'"):
            resolve_source(session, {"weights": "none"})


@pytest.mark.parametrize(
    "source",
    [{}, {"run": "r", "model": "m"}, {"model": "m", "checkpoint": "last"}, {"weights": "w", "seed": 1}, {"path": "/"}],
)
def test_anything_else_is_refused(engine: Engine, source: dict[str, Any]) -> None:
    with unit_of_work(engine) as session, pytest.raises(InvalidRequest, match="source: give"):
        resolve_source(session, source)
