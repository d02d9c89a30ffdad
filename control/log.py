"""Logging, set up once per process."""

import logging
import time

_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"


def configure(level: str = "INFO") -> None:
    """Send all logs from `level` up to stderr, in UTC; what libraries say below WARNING is left out."""
    formatter = logging.Formatter(_FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    for name in ("control", "server", "worker", "uvicorn.error"):
        logging.getLogger(name).setLevel(level.upper())
