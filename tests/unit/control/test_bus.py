import subprocess
import sys
from pathlib import Path

import pytest

from control.bus import Bus, PollingBus, open_bus, run_topic
from control.redis_bus import RedisBus
from control.settings import load_settings


def test_the_broker_decides_which_bus(tmp_path: Path, redis_url: str) -> None:
    assert isinstance(open_bus(load_settings(data_dir=tmp_path)), PollingBus)
    bus = open_bus(load_settings(data_dir=tmp_path, broker_url=redis_url, dataset_roots=("/",)))
    assert isinstance(bus, RedisBus)
    bus.close()


def test_polling_always_says_look_again() -> None:
    bus: Bus = PollingBus(interval=0.01)
    watch = bus.watch(run_topic("run_1"))
    bus.publish("anything")
    assert watch.moved()
    assert watch.wait(10)
    assert watch.wait(0)
    bus.close()


@pytest.mark.slow
def test_without_redis_its_library_is_not_imported() -> None:
    code = "import sys, control.bus; sys.exit('redis' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=Path.cwd(), check=False).returncode == 0
