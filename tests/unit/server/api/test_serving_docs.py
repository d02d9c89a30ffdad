"""The examples of docs/serving.md, run as they stand against a service."""

import io
import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from benchmarks.serving.table import FIGURES
from detco_core.inference.tiny import write_tiny_bundle
from server.features.options import FeatureOptions
from server.features.replies.encode import JSON_VALUES, LENGTH_HEADER, MEDIA_TYPES
from server.http.errors import translations

PAGE = (Path(__file__).parents[4] / "docs" / "serving.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def served(admin: httpx.Client, house: Any, run: str) -> httpx.Client:
    assert admin.post("/v1/models/tiny/versions", json={"run": run}).status_code == 202
    house.export(0)
    assert admin.put("/v1/models/tiny/aliases/production", json={"version": 1}).status_code == 200
    client: httpx.Client = house.client("features", "read")
    return client


@pytest.fixture
def desk(served: httpx.Client, house: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a photo and a bundle, and the service's address and token in the environment."""
    write_tiny_bundle(tmp_path / "bundle")
    pixels = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    authorization = served.headers["authorization"]
    address = {"URL": house.url, "AUTH": f"Authorization: {authorization}"}
    address |= {"DETCO_URL": house.url, "DETCO_TOKEN": authorization.removeprefix("Bearer ")}
    address["DETCO_CACHE"] = str(tmp_path / "cache")
    for name, value in address.items():
        monkeypatch.setenv(name, value)
    return tmp_path


@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_python_examples(desk: Path, number: int, capsys: pytest.CaptureFixture[str]) -> None:
    (desk / "example.py").write_text(blocks("python")[number])
    runpy.run_path(str(desk / "example.py"))
    assert "32" in capsys.readouterr().out


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_examples(desk: Path) -> None:
    for block in blocks("sh"):
        done = subprocess.run(["bash", "-euc", block], capture_output=True, env=os.environ, cwd=desk, check=False)
        assert done.returncode == 0, done.stderr
    assert (desk / "features.bin").stat().st_size > 0
    assert (desk / "two.bin").stat().st_size > 0
    with np.load(io.BytesIO((desk / "features.npz").read_bytes())) as archive:
        assert archive["res5"].shape == (1, 10, 2, 3)


def test_the_page_names_every_parameter_and_format() -> None:
    for name in FeatureOptions.__dataclass_fields__:
        assert f"| `{name}` |" in PAGE
    for media in MEDIA_TYPES:
        assert f"| `{media}`" in PAGE
    assert LENGTH_HEADER in PAGE
    assert f"{JSON_VALUES:,} numbers" in PAGE


def test_the_page_says_what_to_do_about_every_error_of_features() -> None:
    codes = {code for _, code in translations._FEATURES.values()} - {"bad_tensor"}  # of `/v2` alone
    assert {code for code in codes if f"`{code}`" not in PAGE} == set()


def test_what_is_asked_of_serving_is_tested_where_it_is_said_to_be() -> None:
    tests = Path(__file__).parents[3]
    table = (tests.parent / "docs" / "decisions" / "188-hostile-requests.md").read_text("utf-8")
    rows = [line.split("|")[1:-1] for line in table.splitlines() if re.match(r"\| \d \|", line)]
    assert [row[0].strip() for row in rows] == [str(number) for number in range(1, 10)]
    for _, _, tested, measured in rows:
        named = re.findall(r"`([^`]+)`(?: \(`(\w+)`\))?", tested)
        assert named or measured.strip()
        for file, test in named:
            assert f"def {test}" in (tests / file).read_text("utf-8")
        for figure in re.findall(r"`(\w+)`", measured):
            assert figure in FIGURES
