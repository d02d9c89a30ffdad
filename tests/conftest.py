"""What holds for every test."""

import os

import pytest
from hypothesis import settings

# Read when torch is imported, here and in every process a test starts. Tests run two at a time on two cores; threads
# that wait for each other by spinning would take those cores from the other half of the tests.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# How long an example takes says nothing on a shared machine; no test asserts on time.
settings.register_profile("house", deadline=None)
settings.load_profile("house")


_LONGEST = (
    "tests/integration/test_kills.py",
    "tests/unit/worker/test_app.py",
    "tests/integration/test_main_job.py",
    "tests/numerics/test_resume.py",
    "tests/integration/test_weights.py",
    "tests/distributed/test_pretrain.py",
)
"""Files that take a minute or more, the longest first: begun last, one of them would keep the others' cores idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, all else as it was found."""
    places = {name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.split("::")[0], len(places)))
