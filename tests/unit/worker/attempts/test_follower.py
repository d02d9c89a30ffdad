"""Two hosts' runners work on one run under one fence, and whatever becomes of one ends the attempt once."""

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from control.db.models import AttemptNode
from control.db.session import unit_of_work
from control.records.life import shares
from control.records.scheduling import workers
from control.records.scheduling.claims import Claim
from control.records.scheduling.gangs import nodes_of
from control.records.scheduling.workers import WorkerIdentity
from tests.processes import words_of
from tests.unit.worker.house import CHILDREN, House, weights_after
from worker.attempts.assignment import EXIT_CLOSED
from worker.attempts.folder import occupy, open_folder
from worker.launch import package_environment
from worker.processes import Leash, Mark, marked, start


class Host:
    """One host's runner of a claimed run, as a pool process would start it; each host has a data folder of its own."""

    def __init__(self, house: House, claim: Claim, name: str, data_dir: Path) -> None:
        self.mark = Mark(claim.run_id, claim.fence, claim.node)
        self.folder = open_folder(data_dir / "work", self.mark)
        self.leash = Leash()
        settings = {
            "DETCO_DATA_DIR": str(data_dir),
            "DETCO_DATABASE_URL": house.settings.resolved_database_url,
            "DETCO_STORE_URL": f"file://{house.settings.data_dir / 'artifacts'}",
            "DETCO_DATASET_ROOTS": ":".join(house.settings.resolved_dataset_roots),
            "DETCO_HOST_NAME": name,
            "DETCO_CONTROL_POLL_SECONDS": "0.05",
            "DETCO_HEARTBEAT_SECONDS": "0.5",
            "DETCO_GRACE_SECONDS": "20",
        }
        command = [sys.executable, str(CHILDREN), "runner", *map(str, self.mark), str(self.leash.fd)]
        told = package_environment() | self.mark.environment() | settings
        lock = occupy(self.folder)
        self.runner = start(command, folder=self.folder, environment=told, leash=self.leash, keep=[lock])
        os.close(lock)

    def job(self) -> psutil.Process | None:
        mine = [process for process in marked(self.mark) if words_of(process)[-2:-1] == ["pretrain"]]
        return mine[0] if mine else None

    def wait(self) -> None:
        assert self.runner.wait(240) == EXIT_CLOSED
        self.leash.let_go()
        assert marked(self.mark) == []


class Pair:
    """The hosts `host`, which leads, and `other`."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house = house
        self.folder = folder
        self.other: WorkerIdentity = house.join("other", "cpu:7")
        self.run_id = house.pretraining(steps=60, every=5, seconds=0.05, nodes=2, held=True)

    def begin(self) -> tuple[Host, Host]:
        claim = self.house.claim()
        with unit_of_work(self.house.engine) as session:
            share = shares.take_share(session, self.other)
        assert share is not None
        assert (claim.run_id, share.fence) == (share.run_id, claim.fence)
        return (
            Host(self.house, claim, "host", self.house.settings.data_dir),
            Host(self.house, share, "other", self.folder / "other"),
        )

    def wait_until(self, happened: Callable[[], object]) -> None:
        deadline = time.monotonic() + 120
        while not happened():
            assert time.monotonic() < deadline
            time.sleep(0.1)  # looking at every process of the machine costs more than what is waited for

    def wait_for_step(self, step: int) -> None:
        self.wait_until(lambda: (self.house.run(self.run_id).progress or {}).get("step", 0) >= step)

    def nodes(self, fence: int) -> list[AttemptNode]:
        found: list[AttemptNode] = self.house.ask(lambda s: nodes_of(s, self.run_id, [fence])[fence])
        return found

    def leased(self) -> list[str]:
        return [slot.uuid for slot in self.house.ask(workers.list_slots) if slot.run_id is not None]


@pytest.mark.slow
def test_one_run_on_two_hosts_outlives_the_loss_of_one(house: House, tmp_path: Path) -> None:
    pair = Pair(house, tmp_path)
    # 1: the other host's processes are killed.
    lead, other = pair.begin()
    pair.wait_for_step(6)
    pair.wait_until(other.job)
    pair.wait_until(lambda: house.log(pair.run_id, 1, 1))
    assert house.log(pair.run_id, 1, 1).startswith(b"node 1 is here"), "its log is there while it runs"
    killed = other.job()
    assert killed is not None
    os.kill(killed.pid, signal.SIGKILL)
    lead.wait()
    other.wait()
    run = house.run(pair.run_id)
    assert (run.state, run.attempt, run.losses, run.failures) == ("queued", 1, 1, 0)
    assert run.reason == "node 1 on other: its processes ended by SIGKILL"
    assert [(node.host, node.state) for node in pair.nodes(1)] == [("host", "lost"), ("other", "failed")]
    assert pair.leased() == []
    # 2: both go on from the same checkpoint, to the end.
    time.sleep(1.1)  # the back-off after a first loss
    lead, other = pair.begin()
    pair.wait_until(lambda: len(house.events(pair.run_id, "started")) == 2 and (other.folder / "job.json").exists())
    jobs = [json.loads((host.folder / "job.json").read_text()) for host in (lead, other)]
    assert jobs[0]["resume_sha256"] == jobs[1]["resume_sha256"] is not None
    assert Path(jobs[1]["resume"]).is_file()
    house.release(pair.run_id)
    lead.wait()
    other.wait()
    assert house.run(pair.run_id).state == "completed"
    assert house.artifact(pair.run_id, "weights") == weights_after(60)
    assert pair.leased() == []
    assert len(house.attempts(pair.run_id)) == 2
