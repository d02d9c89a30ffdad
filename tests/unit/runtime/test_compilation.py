"""Compiled networks against the networks themselves."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from detco_core.contract.errors import InvalidDocument
from detco_core.runtime.compilation import compile_all, require_compiler

CPU = torch.device("cpu")


@pytest.mark.parametrize(("device", "variable", "name"), [("cpu", "CXX", r"C\+\+"), ("cuda", "CC", "C")])
def test_a_missing_compiler_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, variable: str, name: str
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(variable, raising=False)
    with pytest.raises(InvalidDocument, match=rf"device\.compile: torch\.compile needs a {name} compiler.*{variable}"):
        require_compiler(torch.device(device))
    compiler = tmp_path / "mine"
    compiler.write_text("#!/bin/sh\n")
    compiler.chmod(0o755)
    monkeypatch.setenv(variable, str(compiler))
    require_compiler(torch.device(device))


@pytest.mark.slow
def test_a_compiled_network_is_the_network() -> None:
    """Gradients and batch statistics to 1e-5; weights keep their names. Slow the first time on a machine."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))
    compiled = copy.deepcopy(plain)
    compile_all((compiled,), CPU)
    assert list(compiled.state_dict()) == list(plain.state_dict())
    x = torch.randn(5, 3, 8, 8)
    for network in (plain, compiled):
        network(x).square().sum().backward()
    for (name, weight), other in zip(plain.named_parameters(), compiled.parameters(), strict=True):
        assert weight.grad is not None
        assert other.grad is not None
        torch.testing.assert_close(other.grad, weight.grad, rtol=1e-5, atol=1e-5, msg=name)
    for value, found in zip(plain.buffers(), compiled.buffers(), strict=True):
        torch.testing.assert_close(found, value, rtol=1e-5, atol=1e-6)
    torch._dynamo.reset()
