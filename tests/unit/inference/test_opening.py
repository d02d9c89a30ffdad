"""What an open session keeps."""

import sys
from pathlib import Path

from detco_core.inference.execution import CPU, Execution
from detco_core.inference.opening import start


def test_a_session_does_not_keep_the_bytes_it_was_opened_with(bundle: Path) -> None:
    model = (bundle / "model.onnx").read_bytes()
    before = sys.getrefcount(model)
    session = start(model, Execution(providers=(CPU,)))
    assert session.get_providers() == [CPU]
    assert sys.getrefcount(model) == before
