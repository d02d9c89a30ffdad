from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.orm import Session

from control.db.models import Alias, Checkpoint, Model, ModelVersion, Weights
from control.db.session import unit_of_work
from control.errors import InvalidRequest, NotFound, NotReady
from control.records.models.sources import resolve_init, resolve_source
from control.storage.base import key_of

CONFIG = {"config": {"method": {"backbone": "resnet50"}}}


def add_checkpoint(session: Session, run_id: str) -> str:
    digest = f"sha256:{'a' * 64}"
    row = Checkpoint(
        run_id=run_id, fence=1, step=1, epoch=1.0, bytes=1, digest=digest, key=key_of(digest), created_by="t"
    )
    session.add(row)
    session.flush()
    return row.id


def add_model(session: Session, **fields: Any) -> str:
    session.add(Model(name="net", last_number=1, created_by="t"))
    session.flush()
    version = ModelVersion(model="net", number=1, state="ready", formats=[], created_by="t", **fields)
    session.add(version)
    session.flush()
    session.add(Alias(model="net", name="production", model_version_id=version.id, number=1, created_by="t"))
    return version.id


def add_weights(session: Session, **fields: Any) -> str:
    weights = Weights(name="official", uri="/w.pth", architecture="resnet50", created_by="t", **fields)
    session.add(weights)
    session.flush()
    return weights.id


def test_a_checkpoint_of_a_run(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run(spec=CONFIG)
    with unit_of_work(engine) as session, pytest.raises(NotReady):
        resolve_source(session, {"run": run_id})
    with unit_of_work(engine) as session:
        found = add_checkpoint(session, run_id)
        for source in ({"run": run_id}, {"run": run_id, "checkpoint": "last"}, {"run": run_id, "checkpoint": found}):
            origin = resolve_source(session, source)
            assert origin.spec == {"run": run_id, "checkpoint_id": found}
            assert (origin.architecture, origin.after) == ("resnet50", ())


def test_only_pretraining_has_checkpoints(engine: Engine, make_run: Callable[..., str]) -> None:
    run_id = make_run(kind="evaluate")
    with unit_of_work(engine) as session, pytest.raises(NotFound):
        resolve_source(session, {"run": run_id})


def test_a_model(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        version = add_model(session)
        assert resolve_source(session, {"model": "net"}).spec == {"model_version_id": version}


def test_random_weights(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        assert resolve_source(session, {"weights": "random"}, seed=7).spec == {
            "weights": "random",
            "backbone": "resnet18",
            "seed": 7,
        }
        named = {"weights": "random", "backbone": "resnet50", "seed": 1}
        assert resolve_source(session, named).spec == named


def test_foreign_weights_are_waited_for_while_they_are_checked(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        weights = add_weights(session, run_id="run_7")
        for name in ("official", weights):
            origin = resolve_source(session, {"weights": name})
            assert (origin.spec, origin.after) == ({"weights_id": weights}, ("run_7",))
        session.get_one(Weights, weights).state = "ready"
        session.flush()
        assert resolve_source(session, {"weights": weights}).after == ()
        session.get_one(Weights, weights).state = "failed"
        session.flush()
        with pytest.raises(NotReady, match="could not be imported"):
            resolve_source(session, {"weights": weights})
        with pytest.raises(NotFound, match="no weights 'none'"):
            resolve_source(session, {"weights": "none"})


@pytest.mark.parametrize(
    "source",
    [{}, {"run": "r", "model": "m"}, {"model": "m", "checkpoint": "last"}, {"weights": "w", "seed": 1}, {"path": "/"}],
)
def test_anything_else_is_refused(engine: Engine, source: dict[str, Any]) -> None:
    with unit_of_work(engine) as session:
        with pytest.raises(InvalidRequest, match="source: give"):
            resolve_source(session, source)
        with pytest.raises(InvalidRequest, match="init: give one of"):
            resolve_init(session, source, "resnet50")


class TestInit:
    def test_takes_every_trained_source(self, engine: Engine, make_run: Callable[..., str]) -> None:
        run_id = make_run(spec=CONFIG)
        with unit_of_work(engine) as session:
            checkpoint = add_checkpoint(session, run_id)
            version = add_model(session, files={"torchvision": {}}, manifest={"architecture": "resnet50"})
            weights = add_weights(session, state="ready")
            sources = {"run": run_id}, {"model": "net"}, {"weights": weights, "strict": False}
            specs = [resolve_init(session, source, "resnet50").spec for source in sources]
        assert specs == [
            {"run": run_id, "checkpoint_id": checkpoint, "strict": True},
            {"model_version_id": version, "strict": True},
            {"weights_id": weights, "strict": False},
        ]

    def test_refuses_another_architecture_unless_asked_to_take_what_fits(self, engine: Engine) -> None:
        with unit_of_work(engine) as session:
            weights = add_weights(session, state="ready")
            with pytest.raises(InvalidRequest, match="a resnet50, and the run's backbone is resnet18: set"):
                resolve_init(session, {"weights": weights}, "resnet18")
            loose = resolve_init(session, {"weights": weights, "strict": False}, "resnet18")
            assert loose.architecture == "resnet50"

    def test_needs_tensors_of_a_model(self, engine: Engine) -> None:
        with unit_of_work(engine) as session:
            add_model(session, files={"onnx": {}})
            with pytest.raises(NotReady, match="net:1 has no torchvision or timm file"):
                resolve_init(session, {"model": "net"}, "resnet50")

    def test_random_weights_are_none(self, engine: Engine) -> None:
        with unit_of_work(engine) as session, pytest.raises(InvalidRequest, match="init"):
            resolve_init(session, {"weights": "random"}, "resnet50")
