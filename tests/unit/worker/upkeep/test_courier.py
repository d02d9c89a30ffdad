"""Messages over real sockets: what a receiver gets, and what no receiver can make the courier do."""

import asyncio
import json
import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, update

from control.db.migrate import upgrade
from control.db.models import Delivery, Webhook
from control.db.session import database_time, open_engine, unit_of_work
from control.records.webhooks import notices, webhooks
from control.settings import Settings, load_settings
from control.signing import signing_key
from detco_client import verify_webhook
from tests.log_lines import lines_of
from worker.upkeep import courier
from worker.upkeep.courier import Courier, Parcel, send

SECRET = "whsec_" + "QUFB" * 11


@dataclass
class Receiver:
    """A receiver that does as it is told by path and remembers what it was sent."""

    url: str
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        return [headers["webhook-id"] for _, headers, _ in self.got]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.got.append((self.path, headers, self.rfile.read(int(headers["content-length"]))))
            status = int(self.path.rpartition("/")[2])
            self.send_response(status)
            self.send_header("Location", f"{found.url}/200")
            self.end_headers()
            self.wfile.write(b"x" * 100_000)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Receiver(f"http://localhost:{server.server_address[1]}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield found
        server.shutdown()
        thread.join()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path, webhook_networks="127.0.0.0/8,::1/128")


@pytest.fixture
def engine(settings: Settings) -> Iterator[Engine]:
    engine = open_engine(settings.resolved_database_url)
    upgrade(engine)
    yield engine
    engine.dispose()


@pytest.fixture
def subscribe(engine: Engine, settings: Settings) -> Callable[..., webhooks.NewSecret]:
    def make(url: str, messages: int = 1) -> webhooks.NewSecret:
        with unit_of_work(engine) as session:
            made = webhooks.create_webhook(session, signing_key(settings), url, ["*"], "anna")
            for _ in range(messages):
                notices.owe_test(session, made.webhook, "anna")
        return made

    return make


def tend(courier: Courier) -> None:
    """Begin what is due and wait for it."""
    courier.tend()
    for future in courier._under_way.values():
        future.result(30)


def states(engine: Engine) -> list[str]:
    with unit_of_work(engine) as session:
        return [row.state for row in session.query(Delivery).order_by(Delivery.id)]


def parcel(url: str) -> Parcel:
    return Parcel("dlv_1", "evt_1", "webhook.test", url, b"{}", (SECRET,))


def settled(url: str, settings: Settings) -> Any:
    return asyncio.run(send(parcel(url), settings.webhook_networks))


def test_a_message_is_signed_delivered_once_and_noted(
    engine: Engine, settings: Settings, receiver: Receiver, subscribe: Any
) -> None:
    made = subscribe(f"{receiver.url}/hook/204", messages=3)
    sender = Courier(settings, engine)
    tend(sender)
    tend(sender)
    assert states(engine) == ["delivered"] * 3
    assert len(set(receiver.ids)) == 3
    path, headers, body = receiver.got[0]
    assert (path, headers["host"]) == ("/hook/204", receiver.url.removeprefix("http://"))
    assert headers["content-type"] == "application/json"
    verify_webhook(made.secret, headers, body)
    assert json.loads(body)["id"] == headers["webhook-id"]


def test_one_that_fails_is_sent_again_the_same_and_holds_back_its_neighbours(
    engine: Engine, settings: Settings, receiver: Receiver, subscribe: Any
) -> None:
    subscribe(f"{receiver.url}/500", messages=3)
    sender = Courier(settings, engine)
    tend(sender)
    assert len(receiver.got) == 1
    with unit_of_work(engine) as session:
        session.execute(update(Webhook).values(url=f"{receiver.url}/200"))
        session.execute(update(Delivery).values(due_at=database_time(session)))
    tend(sender)
    assert states(engine) == ["delivered"] * 3
    assert sorted(receiver.ids).count(receiver.ids[0]) == 2
    first, again = (body for _, headers, body in receiver.got if headers["webhook-id"] == receiver.ids[0])
    assert first == again


def test_after_a_rotation_both_secrets_prove_a_message(
    engine: Engine, settings: Settings, receiver: Receiver, subscribe: Any
) -> None:
    old = subscribe(f"{receiver.url}/200")
    with unit_of_work(engine) as session:
        new = webhooks.rotate_secret(session, signing_key(settings), old.webhook.id)
    tend(Courier(settings, engine))
    ((_, headers, body),) = receiver.got
    for secret in (old.secret, new.secret):
        verify_webhook(secret, headers, body)


def test_another_signing_key_sends_nothing_and_says_so(
    engine: Engine, settings: Settings, receiver: Receiver, subscribe: Any, caplog: pytest.LogCaptureFixture
) -> None:
    subscribe(f"{receiver.url}/200")
    stranger = Courier(settings.model_copy(update={"data_dir": settings.data_dir / "other"}), engine)
    with caplog.at_level(logging.ERROR):
        tend(stranger)
        tend(stranger)
    assert states(engine) == ["pending"]
    (said,) = lines_of(caplog, "worker.upkeep.courier")
    assert "another DETCO_WEBHOOK_KEY" in said.message
    assert receiver.got == []


def test_an_answer_is_read_only_as_far_as_it_is_kept(receiver: Receiver, settings: Settings) -> None:
    receipt = settled(f"{receiver.url}/200", settings)
    assert (receipt.ok, receipt.status, receipt.answer) == (True, 200, "x" * 1024)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirects_are_not_followed(receiver: Receiver, settings: Settings, status: int) -> None:
    receipt = settled(f"{receiver.url}/{status}", settings)
    assert (receipt.ok, receipt.error) == (False, "redirects are not followed")
    assert len(receiver.got) == 1


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "127.1", "0x7f000001", "169.254.169.254", "[::ffff:7f00:1]"]
)
def test_nothing_inside_is_called_unless_a_setting_says_so(receiver: Receiver, host: str) -> None:
    port = receiver.url.rpartition(":")[2]
    receipt = asyncio.run(send(parcel(f"http://{host}:{port}/200")))
    assert not receipt.ok
    assert any(word in str(receipt.error) for word in ("never called", "DETCO_WEBHOOK_NETWORKS"))
    assert receiver.got == []


def test_the_address_that_was_checked_is_the_one_connected_to(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that answers with a public address when it is checked, and with ours ever after."""
    real, asked = socket.getaddrinfo, list[str]()

    def rebinding(host: Any, *args: Any, **more: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else str(host)
        asked.append(name)
        return real("192.0.2.1" if asked.count(name) == 1 and "example" in name else "127.0.0.1", *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", rebinding)
    monkeypatch.setattr(courier, "TOTAL_SECONDS", 3.0)
    port = receiver.url.rpartition(":")[2]
    receipt = asyncio.run(send(parcel(f"http://rebind.example.org:{port}/200"), load_networks("192.0.2.0/24")))
    assert not receipt.ok
    assert asked.count("rebind.example.org") == 1
    assert receiver.got == []


def load_networks(text: str) -> Any:
    return load_settings(data_dir="unused", webhook_networks=text).webhook_networks


def test_an_answer_that_drips_is_cut_off(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(courier, "TOTAL_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()

        def drip() -> None:
            connection, _ = listener.accept()
            with connection, suppress(OSError):  # it is cut off
                while not ended.wait(0.02):  # nothing else ends it
                    connection.sendall(b"H")

        thread = threading.Thread(target=drip, daemon=True)
        thread.start()
        receipt = settled(f"http://127.0.0.1:{listener.getsockname()[1]}/", settings)
        ended.set()
        thread.join()
    assert not receipt.ok
    assert receipt.error == "no whole answer within 0 s"


@pytest.mark.parametrize("answer", [b"nonsense\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"])
def test_what_is_not_http_is_a_failure_not_a_fault(settings: Settings, answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def reply() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(10_000)
                connection.sendall(answer)

        thread = threading.Thread(target=reply)
        thread.start()
        receipt = settled(f"http://127.0.0.1:{listener.getsockname()[1]}/", settings)
        thread.join()
    assert not receipt.ok
    assert receipt.error


def test_a_slow_receiver_delays_no_other(
    engine: Engine, settings: Settings, receiver: Receiver, subscribe: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(courier, "TOTAL_SECONDS", 100.0)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        subscribe(f"http://127.0.0.1:{silent.getsockname()[1]}/", messages=2)
        sender = Courier(settings, engine)
        sender.tend()
        (slow,) = sender._under_way.values()
        with silent.accept()[0]:
            subscribe(f"{receiver.url}/200")
            sender.tend()
            (other,) = (future for future in sender._under_way.values() if future is not slow)
            other.result(60)
            assert receiver.got
            assert not slow.done()
    slow.result(60)
    assert sorted(states(engine)) == ["delivered", "pending", "pending"]
