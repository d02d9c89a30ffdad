import pytest
from fastapi import FastAPI

from server.http.errors.allowed import allowed_methods

app = FastAPI()


@app.get("/v1/runs")
@app.get("/v1/runs/{job}/artifacts/{artifact:path}")
def look(job: str = "", artifact: str = "") -> None: ...


@app.post("/v1/runs")
@app.put("/v1/runs/{job}/artifacts/fixed")
def change(job: str = "") -> None: ...


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("/v1/runs", ("GET", "HEAD", "POST")),
        ("/v1/runs/run_1/artifacts/a/b.pt", ("GET", "HEAD")),
        ("/v1/runs/run_1/artifacts/fixed", ("GET", "HEAD", "PUT")),
        ("/v1/runsx", ()),
        ("/v1/runs/", ()),
    ],
)
def test_every_method_of_a_path_is_named(path: str, methods: tuple[str, ...]) -> None:
    assert allowed_methods(app.routes, path) == methods
