"""A job is started with its own command, environment and log, and nothing of the service's secrets."""

import sys
from pathlib import Path

import pytest

from worker.launch import Post, job_command, job_environment, launch, log_tail
from worker.processes import Leash, Mark

MARK = Mark("run_1", 3)


def test_one_process_is_started_without_a_launcher() -> None:
    assert job_command("check") == [sys.executable, "-m", "detco_core", "check", "job.json"]


def test_several_processes_are_started_by_torchrun() -> None:
    command = job_command("pretrain", 4)
    assert command[1:3] == ["-m", "torch.distributed.run"]
    assert "--standalone" in command
    assert "--nproc-per-node=4" in command
    assert command[-4:] == ["-m", "detco_core", "pretrain", "job.json"]


def test_several_hosts_meet_where_node_0_says() -> None:
    command = job_command("pretrain", 1, Post(1, 3, "10.0.0.1:2345", "run_1-7"))
    assert command[1:3] == ["-m", "torch.distributed.run"]
    assert {"--rdzv-endpoint=10.0.0.1:2345", "--rdzv-id=run_1-7", "--nnodes=3", "--node-rank=1"} <= {*command}
    assert "--nproc-per-node=1" in command
    assert "--standalone" not in command


class TestEnvironment:
    def test_names_gpus_threads_and_marks(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        environment = job_environment(MARK, ["GPU-a", "GPU-b"], threads=3)
        assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"
        assert environment["OMP_NUM_THREADS"] == "3"
        assert (environment["DETCO_RUN"], environment["DETCO_FENCE"]) == ("run_1", "3")

    def test_a_job_without_gpus_sees_none(self) -> None:
        assert job_environment(MARK, [], threads=1)["CUDA_VISIBLE_DEVICES"] == ""

    def test_the_operator_decides_about_threads(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("OMP_NUM_THREADS", "5")
        assert job_environment(MARK, [], threads=1)["OMP_NUM_THREADS"] == "5"

    def test_settings_of_the_service_stay_with_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DETCO_DATABASE_URL", "postgresql://user:secret@host/db")
        monkeypatch.setenv("DETCO_WORKER", "worker-1")
        environment = job_environment(MARK, [], threads=1)
        assert "secret" not in "".join(environment.values())
        assert environment["DETCO_WORKER"] == "worker-1"


class TestLaunch:
    def run(self, folder: Path, code: str) -> int:
        leash = Leash()
        environment = job_environment(MARK, [], threads=1)
        process = launch([sys.executable, "-c", code], folder, environment, leash)
        try:
            return process.wait()
        finally:
            leash.let_go()

    def test_output_of_both_kinds_goes_to_the_log(self, tmp_path: Path) -> None:
        code = "import sys; print('out', flush=True); print('err', file=sys.stderr); sys.exit(7)"
        assert self.run(tmp_path, code) == 7
        assert log_tail(tmp_path) == "out\nerr"

    def test_a_signal_is_seen_as_such(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, "import os; os.kill(os.getpid(), 9)") == -9

    def test_packages_are_found_from_another_folder(self, tmp_path: Path) -> None:
        assert self.run(tmp_path, "import detco_core.contract, worker, os; print(os.getcwd())") == 0
        assert log_tail(tmp_path) == str(tmp_path)

    def test_the_job_holds_its_leash(self, tmp_path: Path) -> None:
        code = "import os; fd = int(os.environ['DETCO_PARENT_FD']); os.set_blocking(fd, False); os.read(fd, 1)"
        assert self.run(tmp_path, f"try:\n    {code}\nexcept BlockingIOError:\n    print('held')") == 0
        assert log_tail(tmp_path) == "held"


class TestLogTail:
    def test_of_no_log_is_empty(self, tmp_path: Path) -> None:
        assert log_tail(tmp_path) == ""

    def test_is_bounded_in_lines_and_bytes(self, tmp_path: Path) -> None:
        log = tmp_path / "log.txt"
        log.write_text("".join(f"line {n}\n" for n in range(1000)))
        assert log_tail(tmp_path).splitlines() == [f"line {n}" for n in range(940, 1000)]
        log.write_bytes(b"\xff" * 10**6)
        assert len(log_tail(tmp_path)) <= 16 * 1024
