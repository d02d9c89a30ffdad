"""The methods there are, by the name a config gives. To add one: its file beside this one and a line here."""

from collections.abc import Callable, Mapping

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.method.detco import DetCo, make_detco
from detco_core.method.moco import make_moco_v2

METHODS: Mapping[str, Callable[[RunConfig], DetCo]] = {"detco": make_detco, "moco_v2": make_moco_v2}


def make_method(config: RunConfig) -> DetCo:
    """Build the method a config names, with random weights.

    Raises:
        InvalidDocument: no such method, or its settings contradict it.
    """
    name = config.method.name
    if name not in METHODS:
        raise InvalidDocument("run config", (Fault("method.name", f"{name!r} is not one of {', '.join(METHODS)}"),))
    return METHODS[name](config)
