"""The methods there are, by the name a config gives.

To add one here: its file beside this one and a line below. To add one from outside: a distribution that is installed
beside this one, with an entry point of the group `detco.methods` whose name is the method's and whose object takes a
`RunConfig` and returns a `DetCo`, or a subclass. Installing one is the operator's decision: a config only names it.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint, entry_points

from detco_core.contract.config import RunConfig
from detco_core.contract.errors import Fault, InvalidDocument
from detco_core.method.detco import DetCo, make_detco
from detco_core.method.moco import make_moco_v2

Maker = Callable[[RunConfig], DetCo]

METHODS: Mapping[str, Maker] = {"detco": make_detco, "moco_v2": make_moco_v2}
GROUP = "detco.methods"


def make_method(config: RunConfig) -> DetCo:
    """Build the method a config names, with random weights.

    Raises:
        InvalidDocument: no such method, its settings contradict it, or the distribution it comes from is at fault.
    """
    name = config.method.name
    installed = [point for point in entry_points(group=GROUP) if point.name == name]
    if name in METHODS and not installed:
        return METHODS[name](config)
    if name in METHODS or len(installed) > 1:
        owners = [*(["detco"] if name in METHODS else []), *map(_owner, installed)]
        raise _refused(f"{name!r} is claimed by {' and by '.join(owners)}: uninstall all but one")
    if not installed:
        known = (*METHODS, *sorted({point.name for point in entry_points(group=GROUP)}))
        raise _refused(f"{name!r} is not one of {', '.join(known)}")
    method = _load(installed[0])(config)
    if not isinstance(method, DetCo):
        raise _refused(f"{_described(installed[0])} made a {type(method).__name__}, not a DetCo")
    return method


def _load(point: EntryPoint) -> Maker:
    try:
        maker: Maker = point.load()
    # Importing a stranger's module may raise anything.
    except Exception as error:
        message = f"{_described(point)} cannot be loaded: {type(error).__name__}: {error}; mend or uninstall it"
        raise _refused(message) from error
    return maker


def _described(point: EntryPoint) -> str:
    return f"{point.name!r} ({point.value}, installed by {_owner(point)})"


def _owner(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unknown distribution"


def _refused(message: str) -> InvalidDocument:
    return InvalidDocument("run config", (Fault("method.name", message),))
