"""Whether there is a gRPC door, and what is said when it cannot be."""

import sys
from pathlib import Path

import pytest

from control.errors import SettingsError
from control.settings import load_settings
from server.app import make_app
from server.rpc.door import GrpcDoor
from tests.migrated import open_migrated


def test_a_port_opens_it_where_features_are_served(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, grpc_port=0)
    open_migrated(settings.resolved_database_url).dispose()
    assert isinstance(make_app(settings).state.door, GrpcDoor)
    assert make_app(settings, ["api"]).state.door is None
    assert make_app(load_settings(data_dir=tmp_path)).state.door is None


def test_without_the_extra_it_is_an_error_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "server.rpc.door", None)
    with pytest.raises(SettingsError, match=r"pip install 'detco\[grpc\]'"):
        make_app(load_settings(data_dir=tmp_path, grpc_port=0))
