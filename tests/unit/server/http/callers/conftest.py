"""Tables with tokens in them."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

from control.db.migrate import upgrade
from control.db.session import open_engine


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('tables') / 'detco.sqlite3'}")
    upgrade(engine)
    yield engine
    engine.dispose()
