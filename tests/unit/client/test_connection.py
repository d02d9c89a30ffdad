from pathlib import Path

import pytest

from detco_client.connection import DEFAULT_URL, find_token, find_url
from detco_client.errors import ClientError

LOCAL = "http://127.0.0.1:9999"
VARIABLES = ("DETCO_URL", "DETCO_TOKEN", "DETCO_TOKEN_FILE", "DETCO_DATA_DIR")


@pytest.fixture(autouse=True)
def data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    for variable in VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DETCO_DATA_DIR", str(tmp_path))
    return tmp_path


def test_the_argument_comes_first_then_the_environment_then_the_data_folder(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert find_url() == DEFAULT_URL
    (data / "server.json").write_text('{"url": "http://127.0.0.1:1111"}')
    assert find_url() == "http://127.0.0.1:1111"
    monkeypatch.setenv("DETCO_URL", "https://gpu.example/")
    assert find_url() == "https://gpu.example"
    assert find_url(LOCAL) == LOCAL


@pytest.mark.parametrize("text", ["", "{", "[]", '{"url": 5}', '{"port": 8000}'])
def test_a_damaged_note_of_the_server_is_no_address(data: Path, text: str) -> None:
    (data / "server.json").write_text(text)
    assert find_url() == DEFAULT_URL


@pytest.mark.parametrize("url", ["gpu.example:8000", "ftp://gpu.example", "http://", "8000"])
def test_what_is_no_address_is_named(url: str) -> None:
    with pytest.raises(ClientError, match="not the address"):
        find_url(url)


def test_the_token_of_the_data_folder_opens_this_machine(data: Path) -> None:
    assert find_token(LOCAL) is None
    (data / "token").write_text("admin-token\n")
    assert find_token(LOCAL) == "admin-token"
    assert find_token("http://localhost:8000") == "admin-token"
    assert find_token("http://[::1]:8000") == "admin-token"


@pytest.mark.parametrize("url", ["https://gpu.example", "http://10.0.0.1:8000", "http://localhost.example"])
def test_the_token_of_the_data_folder_never_leaves_this_machine(data: Path, url: str) -> None:
    (data / "token").write_text("admin-token")
    assert find_token(url) is None


def test_a_token_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    monkeypatch.setenv("DETCO_TOKEN_FILE", str(data / "nowhere"))
    with pytest.raises(ClientError, match="nowhere"):
        find_token(LOCAL)
    (data / "nowhere").write_text(" abc \n")
    assert find_token("https://gpu.example") == "abc"
    monkeypatch.setenv("DETCO_TOKEN", "from-the-environment")
    assert find_token(LOCAL) == "from-the-environment"
    assert find_token(LOCAL, "given") == "given"
