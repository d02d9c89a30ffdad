"""What jobs have taken, by whose they are, their labels, groups or kinds."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Literal

from detco_client.resources.service import UsageRow
from detco_client.transport import Transport

UsageBy = Literal["token", "label", "group", "kind"]


def usage_of(
    transport: Transport, by: UsageBy = "token", since: datetime | None = None, until: datetime | None = None
) -> Iterator[UsageRow]:
    """GPU seconds, CPU seconds and bytes by key; times without a zone are this machine's own."""
    moments: dict[str, Any] = {
        name: None if moment is None else moment.astimezone().isoformat()
        for name, moment in (("since", since), ("until", until))
    }
    return transport.items("/v1/usage", {"by": by, **moments})
