"""The record of what really ran."""

import json
import platform
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from detco_core.contract.config import RunConfig
from detco_core.train.record import environment, software

Configs = Callable[..., RunConfig]


def test_says_what_ran(tiny_config: Configs) -> None:
    record = environment(tiny_config(), torch.device("cpu"), "plain")
    assert record["torch"] == torch.__version__
    assert record["python"] == platform.python_version()
    assert (record["world_size"], record["gpus"], record["cuda"]) == (1, [], None)
    assert record["batch_norm"] == "plain"
    assert record["cpu_threads"] == torch.get_num_threads()
    assert json.loads(json.dumps(record)) == record


def test_names_the_deviations(tiny_config: Configs) -> None:
    record = environment(tiny_config(), torch.device("cpu"), "plain")
    assert {"train.batch_size", "method.queue_size", "gpus"} <= {item["key"] for item in record["deviations"]}


def test_commit_is_the_source_trees() -> None:
    root = Path(__file__).resolve().parents[3]
    if not (root / ".git").exists():
        pytest.skip("not a git checkout")
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    from detco_core.contract.presets import preset

    assert environment(preset("smoke"), torch.device("cpu"), "plain")["commit"] == head.stdout.strip()


def test_software_is_plain_text() -> None:
    assert {"detco", "torch", "torchvision", "python"} == set(software())
    assert all(type(version) is str for version in software().values())
