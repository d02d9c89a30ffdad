"""What the Open Inference Protocol's two doors, `/v2` and gRPC, say alike."""

from collections.abc import Iterable

from server.http.deps import Services
from server.http.probes.readiness import feature_checks
from server.http.problems import Problem

LOAD_SECONDS = 60.0
"""A call to load a model waits so long for it."""


async def require_ready(services: Services) -> None:
    """Raise `Problem` (503) unless every promoted model answers a picture."""
    checks = await feature_checks(services)
    if services.protocol is None or not all(check.ok for check in checks.values()):
        raise Problem("unavailable", "; ".join(check.detail for check in checks.values()) or "no models are served")


async def is_ready(services: Services) -> bool:
    """Whether `require_ready` would raise nothing."""
    try:
        await require_ready(services)
    except Problem:
        return False
    return True


def refuse_configuration(parameters: Iterable[str]) -> None:
    """Raise `Problem` (501) when a call to load a model brings a configuration or files of its own."""
    if any(name == "config" or name.startswith("file:") for name in parameters):
        raise Problem("not_implemented", "a model's configuration is its bundle's: export a version instead")
