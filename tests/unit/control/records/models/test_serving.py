import pytest
from sqlalchemy import Engine

from control.db.models import Model, ModelVersion, Pin
from control.db.session import unit_of_work
from control.records.models.aliases import set_alias
from control.records.models.serving import bundle_files, find_served, followed


@pytest.fixture(autouse=True)
def versions(engine: Engine) -> None:
    """net:1, net:2 and net:3 are ready, net:4 is exporting; net:2 and net:4 are pinned, net@production is net:1."""
    with unit_of_work(engine) as session:
        session.add(Model(name="net", last_number=4, created_by="t"))
        session.flush()
        for number in range(1, 5):
            files = {"onnx": {"path": "model.onnx", "bytes": 1, "digest": "d", "key": "k"}} if number == 1 else None
            state = "ready" if number < 4 else "exporting"
            version = ModelVersion(
                model="net",
                number=number,
                state=state,
                formats=[],
                files=files,
                weights_digest=f"sha256:{number}",
                created_by="t",
            )
            session.add(version)
            session.flush()
            if number % 2 == 0:
                session.add(Pin(model_version_id=version.id, consumer="detector", created_by="t"))
        set_alias(session, "net", "production", 1, "t")


def test_what_is_followed(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        found = followed(session)
    assert {name: (version.model, version.number) for name, version in found.aliases.items()} == {
        "net@production": ("net", 1)
    }
    assert {(version.number, version.weights_digest) for version in found.pinned} == {(2, "sha256:2")}


def test_only_what_is_ready_is_served(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        served = find_served(session, "net", 3)
        assert served is not None
        assert (served.model, served.number) == ("net", 3)
        assert find_served(session, "net", 4) is None
        assert find_served(session, "other", 1) is None


def test_the_files_of_a_bundle(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        first, second = find_served(session, "net", 1), find_served(session, "net", 2)
        assert first is not None
        assert second is not None
        assert bundle_files(session, first.id)["onnx"]["path"] == "model.onnx"
        assert bundle_files(session, second.id) == {}
        assert bundle_files(session, "mv_none") == {}
