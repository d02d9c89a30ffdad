from datetime import UTC, datetime, timedelta, timezone

import pytest
from sqlalchemy.dialects import sqlite

from control.db.base import Base, UtcTime, storable


@pytest.mark.parametrize(
    ("text", "kept"), [("plain é 写", "plain é 写"), ("a\0b", "a\ufffdb"), ("\udcff", "\ufffd"), ("😀", "😀")]
)
def test_storable(text: str, kept: str) -> None:
    assert storable(text) == kept


@pytest.mark.parametrize(
    ("sign", "end"), [(1, datetime.min.replace(tzinfo=UTC)), (-1, datetime.max.replace(tzinfo=UTC))]
)
def test_the_ends_of_the_calendar_can_be_asked_for(sign: int, end: datetime) -> None:
    beyond = end.replace(tzinfo=timezone(sign * timedelta(hours=14)))
    assert UtcTime().process_bind_param(beyond, sqlite.dialect()) == end.replace(tzinfo=None)


def test_what_must_be_known_of_everything() -> None:
    """Who made it and when, on every table that holds what people or runs make; digests on what has content."""
    for name in ("runs", "attempts", "checkpoints", "artifacts", "datasets", "dataset_versions", "weights", "uploads"):
        assert {"created_at", "created_by"} <= set(Base.metadata.tables[name].columns.keys())
    for name in ("models", "model_versions", "aliases", "alias_history", "pins", "tokens", "workers"):
        assert {"created_at", "created_by"} <= set(Base.metadata.tables[name].columns.keys())
    for name in ("dataset_versions", "checkpoints", "artifacts", "weights", "uploads"):
        assert "digest" in Base.metadata.tables[name].columns
    assert "weights_digest" in Base.metadata.tables["model_versions"].columns
