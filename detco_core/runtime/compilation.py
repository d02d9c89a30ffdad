"""Compilation of networks by torch.compile, checked for what it needs before a run starts."""

import os
import shutil

import torch
from torch import nn

from detco_core.contract.errors import Fault, InvalidDocument


def compile_all(modules: tuple[nn.Module, ...], device: torch.device) -> None:
    """Compile each module in place: names of weights stay, and the first calls are slow.

    Raises:
        InvalidDocument: this machine lacks a compiler that torch.compile needs.
    """
    require_compiler(device)
    for module in modules:
        # Shapes never change within a run, so none is left open; what cannot be compiled runs as it is.
        module.compile(dynamic=False)


def require_compiler(device: torch.device) -> None:
    """Check for a compiler torch.compile can call: C++ for the CPU, C (for Triton's launchers) with a GPU.

    Raises:
        InvalidDocument: there is none; the message says what to install, or which setting to change.
    """
    name, variable = ("C++", "CXX") if device.type == "cpu" else ("C", "CC")
    wanted = [os.environ[variable]] if variable in os.environ else _COMPILERS[name]
    if not any(shutil.which(command) for command in wanted):
        message = (
            f"torch.compile needs a {name} compiler and none of {', '.join(wanted)} is on the path: install one, name "
            f"it in {variable}, or set device.compile to false"
        )
        raise InvalidDocument("run config", (Fault("device.compile", message),))


_COMPILERS = {"C++": ["g++"], "C": ["gcc", "clang", "cc"]}
