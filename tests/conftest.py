"""What holds for every test."""

import os
import random
import subprocess
import sys
from collections.abc import Iterator
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tests.collector import Collector

# Read when torch is imported, here and in every process a test starts. Tests run two at a time on two cores; threads
# that wait for each other by spinning would take those cores from the other half of the tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# How long an example takes says nothing on a shared machine; no test asserts on time. Every run tries the same ones, or
# it would fail some day for one who has changed nothing. `--hypothesis-profile=explore` looks for others.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("house", settings.get_profile("explore"), derandomize=True)
settings.load_profile("house")


_LONGEST = (
    "tests/integration/test_kills.py",
    "tests/unit/worker/test_app.py",
    "tests/integration/test_main_job.py",
    "tests/numerics/test_resume.py",
    "tests/integration/test_weights.py",
    "tests/distributed/test_pretrain.py",
    "tests/integration/test_cut_off.py",
    "tests/integration/test_real_parts.py",
)
"""Files that take a minute or more, the longest first: begun last, one of them would keep the others' cores idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, all else as it was found."""
    places = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.split("::")[0], len(places)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Random numbers without a seed do not depend on which tests this process happened to run before."""
    random.seed(0)
    for name, seed in (("numpy", "random.seed"), ("torch", "manual_seed")):
        if (module := sys.modules.get(name)) is not None:
            attrgetter(seed)(module)(0)


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """A test that mounts something is run once more, as root of a namespace of its own, where we are not root."""
    if pyfuncitem.get_closest_marker("mounts") is None or os.geteuid() == 0:
        return None
    test = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", pyfuncitem.nodeid]
    command = ["unshare", "--user", "--map-root-user", "--mount", *test]
    done = subprocess.run(command, cwd=pyfuncitem.config.rootpath, capture_output=True, text=True, check=False)
    if "unshare: " in done.stderr or "1 skipped" in done.stdout:
        pytest.skip(f"mounting is refused here, also in a namespace of one's own: {done.stderr[-500:]}")
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    return True


@pytest.fixture
def collector() -> "Iterator[Collector]":
    """Takes the spans that processes with its `environment` send."""
    from tests.collector import collecting

    with collecting() as collector:
        yield collector


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of a service that speaks S3 and is empty."""
    from moto.server import ThreadedMotoServer  # a second: only those who use it wait

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A new bucket of it, where everything that uses boto3 looks."""
    import boto3

    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3_endpoint)
    for name, value in (("ACCESS_KEY_ID", "test"), ("SECRET_ACCESS_KEY", "test"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    return boto3.resource("s3", endpoint_url=s3_endpoint).create_bucket(Bucket=f"b{uuid4().hex}")
