"""Our server as it is deployed, `python -m server`, on a data folder with a model of a version for each bundle."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx

from benchmarks.machine import ROOT
from benchmarks.serving.target import Target
from control.db.migrate import upgrade
from control.db.models import Model, ModelVersion
from control.db.session import open_engine, unit_of_work
from control.records.access.tokens import create_token
from control.records.models.aliases import PRODUCTION, set_alias
from control.settings import load_settings
from control.storage.base import Store, file_digest
from control.storage.open import open_store
from detco_core.contract.manifest import MANIFEST_FILE, read_manifest
from detco_core.contract.reader import plain

MODEL = "backbone"
READY_SECONDS = 120.0
_ACTOR = "benchmark"
_GRPC = re.compile(r" gRPC on (\S+)\n")
"""A port of 0 is a free one, which only the log tells."""


class Service:
    """One server process and an administrator's client of it."""

    def __init__(self, process: "subprocess.Popen[bytes]", url: str, token: str, log: Path) -> None:
        self._process = process
        self._log = log
        address = urlsplit(url)
        headers = {"Authorization": f"Bearer {token}"}
        self.client = httpx.Client(base_url=url, headers=headers, timeout=120)
        self._whole = Target(
            name="detco",
            host=str(address.hostname),
            port=int(address.port or 0),
            path="/features",
            pid=process.pid,
            headers=headers | {"Content-Type": "image/jpeg"},
        )

    def target(self, **query: Any) -> Target:
        """`/features` with these parameters; objects as JSON."""
        words = {key: value if isinstance(value, str) else json.dumps(value) for key, value in query.items()}
        return replace(self._whole, path=f"/features?{httpx.QueryParams(words)}")

    def open_inference(self, **parameters: Any) -> list[Target]:
        """The same by `/v2`, by calls over gRPC, and by a stream."""
        host, _, port = self.grpc().rpartition(":")
        plain = {name: value for name, value in self._whole.headers.items() if name != "Content-Type"}
        over_http = replace(self._whole, name="v2", path=f"/v2/models/{MODEL}/infer", form="v2", headers=plain)
        over_grpc = replace(over_http, name="gRPC", host=host, port=int(port), path=MODEL, form="grpc")
        ways = [over_http, over_grpc, replace(over_grpc, name="gRPC stream", form="stream")]
        return [replace(way, parameters=parameters) for way in ways]

    def grpc(self) -> str:
        """Where it takes gRPC; raises `RuntimeError` when it was started without the setting `grpc_port`."""
        found = _GRPC.search(self._log.read_text("utf-8", "replace"))
        if found is None:
            raise RuntimeError(f"the server says of no port for gRPC in {self._log}")
        return found[1]

    def promote(self, number: int) -> None:
        """Let production name a version; returns when it is served."""
        self.client.put(f"/v1/models/{MODEL}/aliases/{PRODUCTION}", json={"version": number}).raise_for_status()

    def close(self) -> None:
        self.client.close()
        self._process.terminate()
        try:
            self._process.wait(60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


@contextmanager
def service(folder: Path, bundles: Sequence[Path], *words: str, **settings: str) -> Iterator[Service]:
    """A server in a folder that is new or was used before, with `words` on its command line; ends with the block.

    Raises:
        RuntimeError: it does not serve the first bundle within `READY_SECONDS`.
    """
    token = prepare(folder, bundles)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DETCO_")}
    environment |= {f"DETCO_{name.upper()}": value for name, value in ({"serve_device": "cpu"} | settings).items()}
    (folder / "server.json").unlink(missing_ok=True)
    command = [sys.executable, "-m", "server", "--data-dir", str(folder), "--port", "0", *words]
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=ROOT)
    try:
        started = Service(process, _url(process, folder), token, folder / "server.log")
    except BaseException:
        process.kill()
        process.wait()
        raise
    try:
        yield started
    finally:
        started.close()


def prepare(folder: Path, bundles: Sequence[Path]) -> str:
    """Write database and store: `MODEL` with a ready version for each bundle, the first in production; a token."""
    settings = load_settings(data_dir=folder)
    engine = open_engine(settings.resolved_database_url)
    upgrade(engine)
    store = open_store(settings)
    with unit_of_work(engine) as session:
        session.add(Model(name=MODEL, last_number=len(bundles), created_by=_ACTOR))
        session.flush()
        for number, bundle in enumerate(bundles, start=1):
            session.add(_version(number, bundle, store))
        session.flush()
        set_alias(session, MODEL, PRODUCTION, 1, _ACTOR)
        token = create_token(session, _ACTOR, ["admin"], _ACTOR).secret
    engine.dispose()
    return token


def _version(number: int, bundle: Path, store: Store) -> ModelVersion:
    manifest = read_manifest(bundle)
    kept = {}
    for name, file in (("manifest", MANIFEST_FILE), ("onnx", manifest.files["onnx"].path)):
        digest = file_digest(bundle / file)
        key = store.put(bundle / file, digest)
        kept[name] = {"path": file, "bytes": (bundle / file).stat().st_size, "digest": digest, "key": key}
    return ModelVersion(
        model=MODEL,
        number=number,
        state="ready",
        formats=["onnx"],
        weights_digest=manifest.weights_digest,
        manifest=plain(manifest),
        files=kept,
        created_by=_ACTOR,
    )


def _url(process: "subprocess.Popen[bytes]", folder: Path) -> str:
    deadline = time.monotonic() + READY_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError, ValueError, httpx.HTTPError):
            url = str(json.loads((folder / "server.json").read_text("utf-8"))["url"])
            if httpx.get(f"{url}/readyz/features", timeout=10).status_code == 200:
                return url
        time.sleep(0.1)
    raise RuntimeError(f"the server did not become ready:\n{(folder / 'server.log').read_text('utf-8', 'replace')}")
