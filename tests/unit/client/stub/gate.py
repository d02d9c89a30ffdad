"""What surrounds every request to the stub."""

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.unit.client.stub.state import State, problem


class Gate:
    """Notes each request, checks the token, and refuses as the test asks. Plain ASGI: bodies pass untouched."""

    def __init__(self, app: ASGIApp, state: State) -> None:
        self.app = app
        self.state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        self.state.requests.append((request.method, str(request.url).split("/", 3)[-1], dict(request.headers)))
        answer: ASGIApp = self.app
        if request.url.path.startswith("/v1") and request.headers.get("authorization") != "Bearer secret":
            answer = problem(401, "unauthenticated", "no such token")
        elif self.state.refuse:
            status, headers = self.state.refuse.pop(0)
            answer = problem(status, "too_many_requests" if status == 429 else "unavailable", "not now", headers)
        await answer(scope, receive, send)
