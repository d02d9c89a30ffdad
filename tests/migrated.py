"""A migrated database, on SQLite in milliseconds: the migrations run once a process, and their result is copied."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from sqlalchemy import Engine

from control.db.migrate import upgrade
from control.db.session import open_engine


@cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="migrated-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = folder / "detco.sqlite3"
    engine = open_engine(f"sqlite:///{path}")
    upgrade(engine)
    # The last connection closed, all of it is in the one file.
    engine.dispose()
    return path


def open_migrated(url: str) -> Engine:
    """A new database with the newest tables; at a URL that is not `sqlite:///PATH`, as long as migrations take."""
    if not url.startswith("sqlite:///"):
        engine = open_engine(url)
        upgrade(engine)
        return engine
    path = Path(url.removeprefix("sqlite:///"))
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        shutil.copyfile(_template(), path)
    return open_engine(url)
