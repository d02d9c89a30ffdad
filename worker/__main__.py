"""`python -m worker [--data-dir DIR]`: a worker of this machine, until SIGTERM, SIGINT or SIGHUP."""

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from control import log
from control.errors import ControlError
from control.settings import load_settings
from worker.app import serve
from worker.tasks import RUNNER
from worker.upkeep.standins import STAND_IN


def main(
    arguments: Sequence[str] | None = None, runner: Sequence[str] = RUNNER, stand_in: Sequence[str] = STAND_IN
) -> int:
    """Read the settings and work; returns the exit status: 1 when the settings are wrong."""
    parser = argparse.ArgumentParser(prog="python -m worker", description=__doc__)
    parser.add_argument("--data-dir", help="everything the service keeps (DETCO_DATA_DIR)")
    options = parser.parse_args(arguments)
    try:
        settings = load_settings(data_dir=options.data_dir)
        log.configure(settings.log_level)
        _settle_in(settings.data_dir)
        return serve(settings, runner, stand_in)
    except ControlError as error:
        logging.getLogger("worker").error("cannot start: %s", error)
        return 1


def _settle_in(data_dir: Path) -> None:
    """Make the environment say to our processes what this one was told, from the working folder they will have."""
    os.environ["DETCO_DATA_DIR"] = str(data_dir)
    for name, value in os.environ.items():
        if name.startswith("DETCO_") and name.endswith("_FILE"):
            os.environ[name] = str(Path(value).absolute())
    data_dir.mkdir(parents=True, exist_ok=True)
    os.chdir(data_dir)


if __name__ == "__main__":
    sys.exit(main())
