"""A look below a prefix: names relative to it, and errors that say whose fault it is."""

from pathlib import Path
from typing import Any

import pytest

from control.errors import InvalidRequest, StoreError
from control.storage.buckets import fetch_object, first_names, object_size


def test_names_below_a_prefix(s3_bucket: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("p/b.jpg", "p/a/c.jpg", "pq/d.jpg"):
        s3_bucket.put_object(Key=key, Body=b"1")
    assert first_names(f"s3://{s3_bucket.name}/p") == ["a/c.jpg", "b.jpg"]
    assert first_names(f"s3://{s3_bucket.name}") == ["p/a/c.jpg", "p/b.jpg", "pq/d.jpg"]
    assert first_names(f"s3://{s3_bucket.name}/none") == []
    with pytest.raises(InvalidRequest, match="s3://nowhere/p cannot be listed"):
        first_names("s3://nowhere/p")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="cannot be reached"):
        first_names(f"s3://{s3_bucket.name}/p")


def test_an_object_is_measured_and_fetched(s3_bucket: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"tensors" * 300_000
    s3_bucket.put_object(Key="w/net.pth", Body=content)
    place, dest = f"s3://{s3_bucket.name}/w/net.pth", tmp_path / "import.pth"
    assert object_size(place) == len(content)
    fetch_object(place, dest)
    assert dest.read_bytes() == content
    for ask in (object_size, lambda missing: fetch_object(missing, dest)):
        with pytest.raises(InvalidRequest, match=r"none\.pth cannot be read"):
            ask(f"s3://{s3_bucket.name}/w/none.pth")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    with pytest.raises(StoreError, match="cannot be reached"):
        fetch_object(place, tmp_path / "other.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["import.pth"]
