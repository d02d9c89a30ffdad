"""Celery as the carrier of wake-ups: a message says "there is work" on a queue, never which.

Nothing depends on a message: workers look by themselves too, and the outbox repeats what the broker did not take.
"""

import logging
from pathlib import Path
from typing import Any

from celery import Celery
from sqlalchemy import Engine

from control import broker
from control.db.session import read_only, unit_of_work
from control.records import outbox
from control.settings import Settings

_log = logging.getLogger(__name__)

WORK = "detco.work"
"""Task of the queues `gpu` and `cpu`; its one argument is the queue's name."""
UPKEEP = "detco.upkeep"
"""Task of the queue `upkeep`."""
QUEUES = ("gpu", "cpu", "upkeep")

_COMMON: dict[str, Any] = {
    # A wake-up is done with when it has arrived: what it starts is kept by the row's lease.
    "task_acks_late": False,
    "task_ignore_result": True,
    "task_publish_retry": False,
    "task_serializer": "json",
    "accept_content": ["json"],
    "task_default_queue": "upkeep",
    "task_create_missing_queues": False,
    "worker_prefetch_multiplier": 1,
    # A pool process that is slow to start on a busy machine is not dead: by default it is killed after 4 s.
    "worker_proc_alive_timeout": 60.0,
    "worker_cancel_long_running_tasks_on_connection_loss": False,
    # What is wanted of a run stands in its row; no process listens to broadcasts.
    "worker_enable_remote_control": False,
    "worker_hijack_root_logger": False,
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_connection_timeout": 2.0,
}
_REDIS: dict[str, Any] = {
    "worker_disable_prefetch": True,
    "broker_transport_options": {
        "socket_connect_timeout": 2.0,
        "socket_timeout": 10.0,
        "socket_keepalive": True,
        "health_check_interval": 25,
        # A request does not wait for a broker that is away: the outbox repeats.
        "max_retries": 1,
        "interval_start": 0.1,
        # Or a worker that was killed with a wake-up in its hands leaves it with the broker: for an hour by default, and
        # nobody needs it by then (docs/decisions/193).
        "ack_emulation": False,
    },
}


def make_celery(settings: Settings) -> Celery:
    """The Celery application of server and worker; tasks are known by name only."""
    url = settings.resolved_broker_url
    celery = Celery("detco", set_as_current=False)
    celery.conf.update(_COMMON, task_queues={name: {"exchange": name, "routing_key": name} for name in QUEUES})
    if url == "filesystem://":
        celery.conf.update(broker_url=f"{broker.SCHEME}://localhost", broker_transport_options=_folders(settings))
    else:
        celery.conf.update(_REDIS if url.startswith("redis") else {}, broker_url=url)
    return celery


def wake(celery: Celery, queue: str) -> bool:
    """Say that there is work on `queue`; False when the broker did not take it. Never raises."""
    try:
        celery.send_task(UPKEEP if queue == "upkeep" else WORK, args=[queue], queue=queue)
    except Exception as error:  # noqa: BLE001 - each broker has errors of its own, and none may fail a request
        _log.warning("the broker took no wake-up for %s: %s", queue, error)
        return False
    return True


def relay(engine: Engine, celery: Celery) -> int:
    """Send the wake-ups that are due, one for each queue; returns how many queues were woken.

    Called after a commit and, for what was missed, by the worker's upkeep.
    """
    with read_only(engine) as session:
        entries = outbox.due(session)
    woken = {queue for queue in dict.fromkeys(entry.queue for entry in entries) if wake(celery, queue)}
    if entries:
        with unit_of_work(engine) as session:
            outbox.mark_sent(session, [entry.id for entry in entries if entry.queue in woken])
            outbox.postpone(session, [entry.id for entry in entries if entry.queue not in woken])
    return len(woken)


def _folders(settings: Settings) -> dict[str, Any]:
    root = settings.data_dir / "broker"
    folders = {name: root / name for name in ("messages", "processed", "control")}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    broker.forget_leftovers(folders["processed"])
    return {
        "data_folder_in": str(folders["messages"]),
        "data_folder_out": str(folders["messages"]),
        "processed_folder": str(folders["processed"]),
        "control_folder": Path(folders["control"]),
        "store_processed": False,
        "polling_interval": 0.1,
    }
