"""Fixtures of the upkeep's tests."""

import pytest

from control.settings import Settings
from tests.unit.worker.house import House
from tests.unit.worker.upkeep.scene import Scene
from worker.processes import Mark


@pytest.fixture
def scene(house: House, settings: Settings) -> Scene:
    return Scene(house, settings)


@pytest.fixture
def share(scene: Scene) -> Mark:
    """Of this host, in a run that another host has claimed."""
    other = scene.house.join("other", "cpu:9")
    scene.house.pretraining(nodes=2)
    claim = scene.house.claim(worker=other)
    return Mark(claim.run_id, claim.fence, 1)
