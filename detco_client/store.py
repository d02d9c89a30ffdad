"""The artifact store of a service, for whoever runs it."""

from typing import Any

from detco_client.transport import Transport


class ArtifactStore:
    """`client.store`; needs the scope `admin`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get(self) -> Any:
        """Objects and bytes kept, those on their way out, and what was found damaged."""
        return self._transport.get("/v1/store")

    def sweep(self, *, dry_run: bool = False) -> Any:
        """Delete what is in the store and in no table, old enough that nobody is still writing it; count and bytes."""
        return self._transport.post("/v1/store/sweep", params={"dry_run": dry_run})
