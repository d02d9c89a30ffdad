"""Opens the gRPC door where the settings name a port for it."""

from typing import Protocol

from control.errors import SettingsError
from server.http.access import AccessLog
from server.http.deps import Services
from server.http.middleware.tracing import Tracing


class Door(Protocol):
    """A server beside the HTTP one, on the same event loop."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...


def open_door(services: Services, access: AccessLog, tracing: Tracing) -> Door | None:
    """None where `DETCO_GRPC_PORT` is not set, or this process serves no features.

    Raises:
        SettingsError: the extra `grpc` is not installed.
    """
    if services.settings.grpc_port is None or services.protocol is None:
        return None
    try:
        from server.rpc.door import GrpcDoor
    except ImportError as error:
        why = (
            f"DETCO_GRPC_PORT is set, and gRPC is not installed here ({error}): pip install 'detco[grpc]', or unset it"
        )
        raise SettingsError(why) from error
    return GrpcDoor(services, services.protocol, access, tracing)
