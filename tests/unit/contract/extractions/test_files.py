"""What is no file of an extraction is refused by name."""

from pathlib import Path

import pytest

from detco_core.contract.errors import DataError
from detco_core.contract.extractions.files import ShardHead, read_index, read_line


def test_an_index_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no index\.json"):
        read_index(tmp_path / "index.json")
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(DataError, match="cannot be read"):
        read_index(tmp_path / "index.json")
    with pytest.raises(DataError, match="line 1 is damaged"):
        read_line(ShardHead, "?", "line 1")
