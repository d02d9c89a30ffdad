from pathlib import Path

import pydantic
import pytest

from control.errors import SettingsError
from control.settings import Settings, load_settings


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in [name for name in os.environ if name.startswith("DETCO_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))


def test_no_settings_at_all_are_the_embedded_service(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.embedded
    assert settings.data_dir == tmp_path / ".detco"
    assert settings.resolved_database_url == f"sqlite:///{tmp_path}/.detco/detco.sqlite3"
    assert settings.resolved_broker_url == "filesystem://"
    assert settings.resolved_store_url == f"file://{tmp_path}/.detco/artifacts"
    assert settings.resolved_dataset_roots == (str(tmp_path.resolve()),)
    assert settings.token_file == tmp_path / ".detco" / "token"
    assert (settings.host, settings.port, settings.lease_seconds, settings.heartbeat_seconds) == (
        "127.0.0.1",
        8000,
        60,
        10,
    )


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    monkeypatch.setenv("DETCO_DATASET_ROOTS", f"/srv/a:{tmp_path}/link::~")
    monkeypatch.setenv("DETCO_SERVE_GPUS", "GPU-1,GPU-2")
    monkeypatch.setenv("DETCO_PORT", "9000")
    settings = load_settings(data_dir="relative", port=None)
    assert settings.resolved_dataset_roots == ("/srv/a", str(tmp_path.resolve()), str(tmp_path.resolve()))
    assert settings.serve_gpus == ("GPU-1", "GPU-2")
    assert settings.port == 9000
    assert settings.data_dir == Path.cwd() / "relative"


def test_sizes_are_read_and_wrong_ones_named() -> None:
    assert load_settings(serve_warm_sizes="800x1333,224x224").serve_warm_sizes == ((800, 1333), (224, 224))
    for wrong in ("800", "800x", "0x1", "1x2x3", "axb"):
        with pytest.raises(SettingsError, match="DETCO_SERVE_WARM_SIZES"):
            load_settings(serve_warm_sizes=wrong)


def test_roots_may_be_a_json_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETCO_DATASET_ROOTS", '["/a:b", "/c"]')
    assert load_settings().dataset_roots == ("/a:b", "/c")
    monkeypatch.setenv("DETCO_DATASET_ROOTS", '["/a')
    with pytest.raises(SettingsError, match="DETCO_DATASET_ROOTS"):
        load_settings()


def test_every_setting_may_come_from_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    secret = tmp_path / "url"
    secret.write_text("postgresql://me:secret@db/detco\n")
    monkeypatch.setenv("DETCO_DATABASE_URL_FILE", str(secret))
    monkeypatch.setenv("DETCO_DATASET_ROOTS", "/srv")
    for name in Settings.model_fields:
        if name not in ("database_url", "dataset_roots"):
            monkeypatch.setenv(f"DETCO_{name.upper()}", str(getattr(load_settings(), name) or OTHERS.get(name, "1")))
    settings = load_settings()
    assert settings.resolved_database_url == "postgresql+psycopg://me:secret@db/detco"
    assert not settings.embedded
    monkeypatch.setenv("DETCO_DATABASE_URL", "postgresql://env/x")
    assert load_settings().database_url == "postgresql://env/x"


OTHERS = {
    "dataset_roots": "/srv/x",
    "log_bytes": "5000000",
    "serve_device": "cpu",
    "serve_gpus": "GPU-9",
    "serve_precision": "fp16",
    "serve_warm_sizes": "224x224,800x1333",
    "shared_memory": "true",
    "webhook_networks": "10.0.0.0/8",
}
"""Values that are not the default, of settings that "7" is none for."""


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_each_has_its_file_form(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    value = getattr(load_settings(), name)
    (tmp_path / "value").write_text(OTHERS.get(name, "7") + "\n")
    monkeypatch.setenv(f"DETCO_{name.upper()}_FILE", str(tmp_path / "value"))
    monkeypatch.setenv("DETCO_DATASET_ROOTS" if name != "dataset_roots" else "DETCO_LOG_LEVEL", "/srv")
    assert getattr(load_settings(), name) != value


def test_a_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETCO_STORE_URL_FILE", "/does/not/exist")
    with pytest.raises(SettingsError, match="DETCO_STORE_URL_FILE names a file that cannot be read"):
        load_settings()


def test_all_that_is_wrong_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DETCO_PORT", "high")
    monkeypatch.setenv("DETCO_LEASE_SECONDS", "-1")
    with pytest.raises(SettingsError, match=r"DETCO_PORT: .*DETCO_LEASE_SECONDS: "):
        load_settings()
    with pytest.raises(SettingsError, match="DETCO_COLOUR"):
        load_settings(port=1, lease_seconds=1, colour="red")


@pytest.mark.parametrize("url", ["postgres://h/d", "postgresql://h/d", "postgresql+psycopg://h/d", "sqlite:////x/y"])
def test_outside_embedded_mode_roots_are_required(url: str) -> None:
    with pytest.raises(SettingsError, match="DETCO_DATASET_ROOTS"):
        load_settings(database_url=url)
    with pytest.raises(SettingsError, match="DETCO_DATASET_ROOTS"):
        load_settings(broker_url="redis://r")
    settings = load_settings(database_url=url, dataset_roots=("/srv",))
    assert settings.resolved_database_url == ("sqlite:////x/y" if "sqlite" in url else "postgresql+psycopg://h/d")


def test_settings_do_not_change() -> None:
    with pytest.raises(pydantic.ValidationError):
        load_settings().port = 1
