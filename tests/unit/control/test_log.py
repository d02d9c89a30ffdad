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
