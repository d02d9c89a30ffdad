from pathlib import Path

import pytest

from control.errors import SettingsError
from control.settings import load_settings
from control.storage.local import LocalStore
from control.storage.open import open_store
from control.storage.s3 import S3Store


def test_the_settings_name_the_store(tmp_path: Path) -> None:
    default = open_store(load_settings(data_dir=tmp_path / "a b"))
    assert isinstance(default, LocalStore)
    assert default.folder == tmp_path / "a b" / "artifacts"
    named = open_store(load_settings(data_dir=tmp_path, store_url="file:///srv/a%20b"))
    assert isinstance(named, LocalStore)
    assert named.folder == Path("/srv/a b")
    assert isinstance(open_store(load_settings(data_dir=tmp_path, store_url="s3://b?region_name=x")), S3Store)
    with pytest.raises(SettingsError, match="neither file:///FOLDER nor"):
        open_store(load_settings(data_dir=tmp_path, store_url="ftp://x"))
