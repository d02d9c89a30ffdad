"""The stub: a small service that speaks the API, with faults that tests switch on."""

from typing import Any

from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, Response

from tests.unit.client.stub.checkpoints import add_checkpoints
from tests.unit.client.stub.datasets import add_datasets, add_weights
from tests.unit.client.stub.evaluations import add_evaluations
from tests.unit.client.stub.extractions import add_extractions
from tests.unit.client.stub.features import add_features
from tests.unit.client.stub.files import add_files
from tests.unit.client.stub.gate import Gate
from tests.unit.client.stub.models import add_models
from tests.unit.client.stub.runs import add_journals, add_runs
from tests.unit.client.stub.state import State
from tests.unit.client.stub.sweeps import add_sweeps
from tests.unit.client.stub.tokens import add_tokens
from tests.unit.client.stub.uploads import add_uploads
from tests.unit.client.stub.webhooks import add_webhooks
from tests.unit.client.stub.workers import add_workers


def make_app(state: State) -> FastAPI:
    app = FastAPI()
    app.add_middleware(Gate, state=state)
    for add in (
        add_runs,
        add_journals,
        add_evaluations,
        add_extractions,
        add_sweeps,
        add_checkpoints,
        add_files,
        add_uploads,
        add_datasets,
        add_weights,
        add_models,
        add_features,
        add_tokens,
        add_webhooks,
        add_workers,
    ):
        add(app, state)
    add_service(app)
    return app


def add_service(app: FastAPI) -> None:
    @app.get("/v1/info")
    def info() -> Any:
        return {"version": "0.1.0", "presets": ["smoke"], "tasks": ["knn"]}

    @app.get("/readyz")
    def ready() -> Any:
        return {"ready": True}

    @app.get("/v1/metrics-of-nothing")
    def html() -> Response:
        return PlainTextResponse("<html>a proxy's page</html>", 502)
