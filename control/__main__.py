"""`python -m control migrate`: bring the database that the settings name to this version's tables."""

import argparse
import logging
import sys
from collections.abc import Sequence

from sqlalchemy import make_url

from control import log
from control.db.migrate import upgrade
from control.db.session import open_engine
from control.errors import ControlError
from control.settings import load_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb; returns the exit status: 1 when the settings are wrong."""
    parser = argparse.ArgumentParser(prog="python -m control", description=__doc__)
    parser.add_argument("verb", choices=["migrate"])
    parser.add_argument("--data-dir")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(data_dir=options.data_dir)
    except ControlError as error:
        print(error, file=sys.stderr)  # noqa: T201 - a command line's own voice
        return 1
    log.configure(settings.log_level)
    engine = open_engine(settings.resolved_database_url)
    upgrade(engine)
    engine.dispose()
    where = make_url(settings.resolved_database_url).render_as_string(hide_password=True)
    logging.getLogger("control").info("the database %s has the tables of this version", where)
    return 0


if __name__ == "__main__":
    sys.exit(main())
