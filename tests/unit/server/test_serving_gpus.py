"""Serving takes the GPUs it is told to, sees no others, and gives them back."""

import logging
import os
from pathlib import Path

import pytest

from control.db.migrate import upgrade
from control.db.models import Slot
from control.db.session import open_engine, read_only, unit_of_work
from control.errors import SettingsError
from control.gpus import Gpu
from control.records.scheduling import serving_slots
from control.records.scheduling.workers import NewSlot
from control.settings import Settings
from server import serving_gpus
from server.serving_gpus import VISIBLE, Keeper, chosen, served_on
from tests.log_lines import lines_of

GPUS = [Gpu(f"GPU-{name}", name, 80, 0, 0) for name in "ab"]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, host_name="here", serve_gpus=("1",))


def test_it_sees_only_those_and_has_them_until_the_end(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = open_engine(settings.resolved_database_url)
    upgrade(engine)
    monkeypatch.setattr(serving_gpus, "discover", lambda: GPUS)
    monkeypatch.setenv(VISIBLE, "0,1")

    def holder() -> str | None:
        with read_only(engine) as session:
            slot = session.get_one(Slot, ("here", "GPU-b"))
            return slot.holder if slot.purpose == "serve" else None

    with served_on(settings) as gpus:
        assert gpus == GPUS[1:]
        assert os.environ[VISIBLE] == "GPU-b"
        assert holder() == f"here:{os.getpid()}"
    assert os.environ[VISIBLE] == "0,1"
    assert holder() is None
    engine.dispose()


def test_told_of_none_it_sees_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VISIBLE, raising=False)
    with served_on(Settings(data_dir=tmp_path)) as gpus:
        assert gpus == []
        assert os.environ[VISIBLE] == ""
    assert VISIBLE not in os.environ


def test_one_that_is_not_there_stops_the_start(settings: Settings) -> None:
    with pytest.raises(SettingsError, match="DETCO_SERVE_GPUS names 1; this machine has 0: GPU-a"):
        chosen(settings, GPUS[:1])
    with pytest.raises(SettingsError, match="none that the driver shows"):
        chosen(settings, [])
    for device in ("cuda", "tensorrt"):
        unnamed = settings.model_copy(update={"serve_gpus": (), "serve_device": device})
        with pytest.raises(SettingsError, match=f"DETCO_SERVE_DEVICE is {device}: name a GPU to serve on"):
            chosen(unnamed, GPUS)


def test_whoever_names_several_is_told_that_one_is_used(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    both = settings.model_copy(update={"serve_gpus": ("1", "0", "GPU-b")})
    assert chosen(both, GPUS) == [GPUS[1], GPUS[0]]
    assert "names 2 GPUs; one server computes on the first, GPU-b" in caplog.text
    caplog.clear()
    assert chosen(settings, GPUS) == GPUS[1:]
    assert not lines_of(caplog, "server.serving_gpus")


def test_what_is_in_the_way_is_told_once(settings: Settings, caplog: pytest.LogCaptureFixture) -> None:
    engine = open_engine(settings.resolved_database_url)
    upgrade(engine)
    with unit_of_work(engine) as session:
        serving_slots.lease(session, "here", [NewSlot(uuid="GPU-a", purpose="serve", is_gpu=True)], "here:1")
    keeper = Keeper(engine, "here", GPUS)
    with caplog.at_level(logging.ERROR):
        keeper.keep()
        keeper.keep()
    assert [record.message for record in lines_of(caplog, "server.serving_gpus")] == [
        "serving shares its GPU: GPU GPU-a of here is leased by the server process here:1"
    ]
    engine.dispose()


def test_it_serves_on_while_the_database_is_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'empty.sqlite3'}")  # without tables
    Keeper(engine, "here", GPUS).keep()
    assert "is not kept" in caplog.text
    engine.dispose()
