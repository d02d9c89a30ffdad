"""What is printed at the start: everything a person needs, and no secret."""

from pathlib import Path

from control.settings import load_settings
from server.banner import banner


def test_an_embedded_service(tmp_path: Path) -> None:
    text = banner(load_settings(data_dir=tmp_path), "http://127.0.0.1:8000", with_worker=True)
    for word in ("http://127.0.0.1:8000", str(tmp_path / "token"), "SQLite", str(tmp_path / "detco.sqlite3"), "broker"):
        assert word in text
    assert "one, kept by this process" in text
    assert "gRPC" not in text
    assert "port 8001" in banner(load_settings(data_dir=tmp_path, grpc_port=8001), "", with_worker=True)
    assert "a free one" in banner(load_settings(data_dir=tmp_path, grpc_port=0), "", with_worker=True)


def test_passwords_stay_out(tmp_path: Path) -> None:
    settings = load_settings(
        data_dir=tmp_path,
        database_url="postgresql://detco:secret1@db:5432/detco?sslpassword=secret2",
        broker_url="redis://:secret3@cache:6379/0",
        store_url="s3://bucket/prefix?secret=secret4",
        dataset_roots=("/data",),
    )
    text = banner(settings, "http://127.0.0.1:8000", with_worker=False)
    assert "secret" not in text
    for word in ("db:5432/detco", "cache:6379", "s3://bucket/prefix", "/data", "detco work"):
        assert word in text
