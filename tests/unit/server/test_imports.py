"""Server and worker start where torch cannot be imported."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

WITHOUT_TORCH = """
import sys
from importlib.abc import MetaPathFinder

class Refuse(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "torchvision", "onnx"):
            raise ImportError(f"{name} must not be imported here")

sys.meta_path.insert(0, Refuse())
import MODULES
assert not [name for name in sys.modules if name.partition(".")[0] in ("torch", "torchvision")]
"""


@pytest.mark.parametrize("modules", ["server.app, server.main", "worker.app, worker.runner, control.__main__"])
def test_no_torch(modules: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(Path.cwd())}
    command = [sys.executable, "-W", "error::ImportWarning", "-c", WITHOUT_TORCH.replace("MODULES", modules)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
