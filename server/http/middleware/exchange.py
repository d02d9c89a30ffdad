"""One request and its answer as they pass: counted, and the answer marked with the request's id."""

from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Send

_CLOSED = "the handler is closed"


class Exchange:
    """What goes in and out."""

    def __init__(self, receive: Receive, send: Send, identity: str) -> None:
        self._receive = receive
        self._send = send
        self.identity = identity
        self.status = 0
        """Of the answer; 0 before there is one."""
        self.bytes_in = 0
        """Of the body."""
        self.bytes_out = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self.bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            MutableHeaders(scope=message)["X-Request-Id"] = self.identity
        try:
            await self._send(message)
        except RuntimeError as error:
            # uvloop's word for a connection that has closed a moment ago; asyncio's own loop says nothing.
            if _CLOSED not in str(error):
                raise
            raise ClientDisconnect from error
        self.bytes_out += len(message.get("body", b""))
