"""The curl examples of docs/api.md are true: each is an operation of the interface, its query and body are taken."""

import importlib
import json
import pkgutil
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import pytest
from pydantic import BaseModel

from control.settings import load_settings
from detco_core.contract.config import override
from detco_core.contract.evaluations import read_options
from detco_core.contract.presets import preset
from server.app import make_app
from server.http import schemas

PAGE = Path(__file__).parents[3] / "docs" / "api.md"


class Example(NamedTuple):
    """One curl command, as far as it concerns the interface."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: list[str]
    body: Any


def examples() -> list[Example]:
    blocks = re.findall(r"```sh\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    return [read(line) for line in lines if line.startswith("curl ")]


def read(line: str) -> Example:
    words = iter(shlex.split(line, comments=True)[1:])
    method, url, headers, body = "", "", [], None
    for word in words:
        if word in ("-X", "-o", "-C"):
            value = next(words)
            method = value if word == "-X" else method
        elif word == "-H":
            headers.append(next(words).partition(":")[0])
        elif word == "--json":
            body = json.loads(next(words))
        elif not word.startswith("-"):
            url = word
    parts = urlsplit(url.replace("$URL", "http://here"))
    return Example(method or ("GET" if body is None else "POST"), parts.path, parse_qs(parts.query), headers, body)


@pytest.fixture(scope="module")
def operations(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Any]:
    paths = make_app(load_settings(data_dir=tmp_path_factory.mktemp("data"))).openapi()["paths"]
    return {(method.upper(), path): found for path, methods in paths.items() for method, found in methods.items()}


def operation_of(operations: dict[tuple[str, str], Any], example: Example) -> Any:
    fitting = [
        (path.count("{"), found)
        for (method, path), found in operations.items()
        if method == example.method and re.fullmatch(re.sub(r"{\w+}", "[^/]+", path), example.path)
    ]
    assert fitting, f"there is no {example.method} {example.path}"
    return min(fitting, key=lambda pair: pair[0])[1]


def model_of(operation: Any) -> type[BaseModel]:
    name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    modules = [importlib.import_module(f"{schemas.__name__}.{m.name}") for m in pkgutil.iter_modules(schemas.__path__)]
    return next(found for module in modules if isinstance(found := getattr(module, name, None), type))


@pytest.mark.parametrize("example", examples(), ids=lambda example: f"{example.method} {example.path}")
def test_an_example_is_taken(operations: dict[tuple[str, str], Any], example: Example) -> None:
    operation = operation_of(operations, example)
    known = {(p["in"], p["name"].lower()) for p in operation.get("parameters", [])}
    assert {("query", name) for name in example.query} <= known
    spoken = {("header", name.lower()) for name in example.headers} - {("header", "$auth")}
    assert spoken <= known
    assert ("security" in operation) == ("$AUTH" in example.headers)
    if example.body is not None:
        model_of(operation).model_validate(example.body)


def test_configs_and_options_of_the_examples_are_good() -> None:
    for example in examples():
        if example.path == "/v1/runs" and example.body:
            override(preset(example.body["preset"]), example.body.get("overrides", {}))
        if example.path.endswith("/fork"):
            override(preset("detco_r18"), example.body["overrides"])
        if example.path == "/v1/evaluations" and example.body:
            read_options(example.body["task"], example.body.get("options", {}))


def test_the_page_lists_every_route(operations: dict[tuple[str, str], Any]) -> None:
    (listed,) = re.findall(r"```text\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    lines = [line.split(maxsplit=2) for line in listed.splitlines()]
    assert {(method, path): summary for method, path, summary in lines} == {
        operation: found["summary"] for operation, found in operations.items()
    }
