"""The client: every call of the REST API as a typed method, by the thing it is about."""

from collections.abc import Iterator
from datetime import datetime
from types import TracebackType
from typing import Self, cast

import httpx

from detco_client.connection import find_token, find_url
from detco_client.datasets import Datasets
from detco_client.evaluations import Evaluations
from detco_client.extractions import Extractions
from detco_client.features import Features
from detco_client.models import Models
from detco_client.resources.service import Info, UsageRow
from detco_client.runs import Runs
from detco_client.store import ArtifactStore
from detco_client.sweeps import Sweeps
from detco_client.tokens import Tokens
from detco_client.transport import Transport, open_transport
from detco_client.uploads import Uploads
from detco_client.usage import UsageBy, usage_of
from detco_client.webhooks import Webhooks
from detco_client.weights import ForeignWeights
from detco_client.workers import Workers


class DetcoClient:
    """One service, and what can be asked of it.

    ::

        with DetcoClient() as client:
            client.datasets.add("photos", "/data/photos")
            run = client.runs.submit("photos", "detco_r18", {"train.epochs": 50})
            client.runs.wait(run["id"])

    `url` and `token` are taken from `DETCO_URL` and `DETCO_TOKEN` when None, else from the embedded service of this
    machine. Safe to use from several threads. `transport` replaces the network.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, *, transport: httpx.BaseTransport | None = None
    ) -> None:
        where = find_url(url)
        self._transport = open_transport(where, find_token(where, token), transport)
        self.datasets = Datasets(self._transport)
        self.uploads = Uploads(self._transport)
        self.weights = ForeignWeights(self._transport)
        self.runs = Runs(self._transport)
        self.sweeps = Sweeps(self._transport)
        self.evaluations = Evaluations(self._transport)
        self.extractions = Extractions(self._transport)
        self.models = Models(self._transport)
        self.features = Features(self._transport)
        self.store = ArtifactStore(self._transport)
        self.tokens = Tokens(self._transport)
        self.workers = Workers(self._transport)
        self.webhooks = Webhooks(self._transport)

    @property
    def url(self) -> str:
        return self._transport.url

    def info(self) -> Info:
        """What the service is: version, limits, presets, tasks, default model."""
        return cast(Info, self._transport.get("/v1/info"))

    def usage(
        self, by: UsageBy = "token", since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[UsageRow]:
        """GPU and CPU seconds and bytes of jobs, by token, label, group or kind; times without a zone are local."""
        return usage_of(self._transport, by, since, until)

    def ready(self) -> bool:
        """Whether every part of the service is ready to work."""
        return _answers(self._transport, "/readyz")

    def close(self) -> None:
        self._transport.http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _answers(transport: Transport, path: str) -> bool:
    try:
        return transport.http.get(path, timeout=5.0).is_success
    except httpx.TransportError:
        return False
