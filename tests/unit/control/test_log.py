import logging
from collections.abc import Iterator

import pytest

from control import log


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    handlers = root.handlers[:]
    named = [root, *(logging.getLogger(name) for name in ("control", "server", "worker", "uvicorn.error"))]
    levels = [logger.level for logger in named]
    yield
    root.handlers[:] = handlers
    for logger, level in zip(named, levels, strict=True):
        logger.setLevel(level)


def test_our_voice_is_heard_and_libraries_only_warn(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("info")
    logging.getLogger("worker.tasks").info("claimed %s", "run_1")
    logging.getLogger("worker.tasks").debug("not heard")
    logging.getLogger("celery").info("not heard")
    logging.getLogger("celery").warning("heard")
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("INFO    worker.tasks: claimed run_1")
    assert first.split()[0].endswith("Z")
    assert second.endswith("WARNING celery: heard")


def test_configuring_again_does_not_double(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("WARNING")
    log.configure("ERROR")
    logging.getLogger("control").error("once")
    logging.getLogger("control").warning("not heard")
    assert len(capsys.readouterr().err.splitlines()) == 1


SECRET = "detco_" + "aB3-" * 10 + "xyz"


@pytest.mark.parametrize(
    ("said", "written"),
    [
        (f"token {SECRET} was shown", "token detco_aB3-*** was shown"),
        (f"Authorization: Bearer {'q' * 40}", "Authorization: Bearer qqqq***"),
        (f"{{'authorization': 'Bearer {SECRET}'}}", "{'authorization': 'Bearer detc***'}"),
        ("whsec_" + "Ab/+" * 11, "whsec_Ab/+***"),
        ("postgresql://detco:pa55@db/detco", "postgresql://detco:***@db/detco"),
        ("redis://:pa55@cache:6379/0", "redis://:***@cache:6379/0"),
        ("connect failed: host=db password=pa55 user=d", "connect failed: host=db password=*** user=d"),
        ("s3://bucket?secret_key=AKIA1&x=2", "s3://bucket?secret_key=***&x=2"),
        ("DETCO_WEBHOOK_KEY is too short; set detco_client", "DETCO_WEBHOOK_KEY is too short; set detco_client"),
        ("https://example.org/a:b see user@example.org", "https://example.org/a:b see user@example.org"),
        ("the secret is wrong, run_01kq: 3", "the secret is wrong, run_01kq: 3"),
    ],
)
def test_secrets_are_blotted_out(said: str, written: str) -> None:
    assert log.redact(said) == written


def test_they_are_in_tracebacks_too(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO")
    try:
        raise RuntimeError(f"no such token: {SECRET}")
    except RuntimeError:
        logging.getLogger("server").exception("refused %s", SECRET)
    said = capsys.readouterr().err
    assert SECRET not in said
    assert said.count("detco_aB3-***") >= 2


def test_nobody_writes_a_line_of_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    log.configure("INFO")
    forged = "/x\r\n2026-01-01T00:00:00.000Z ERROR   server: forged\x1b[2J\x85\ttab"
    try:
        raise ZeroDivisionError
    except ZeroDivisionError:
        logging.getLogger("server").exception("GET %s failed", forged)
    first, second, *_ = capsys.readouterr().err.splitlines()
    assert first.endswith(r"GET /x\r\n2026-01-01T00:00:00.000Z ERROR   server: forged\x1b[2J\x85" + "\ttab failed")
    assert second.startswith("Traceback")
