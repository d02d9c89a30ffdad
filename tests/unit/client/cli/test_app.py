"""Every verb of the command: its help, its answer, and its message when something is wrong."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

from detco_client.cli import app as module
from detco_client.cli.app import make_app


def verbs(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, command in getattr(group, "commands", {}).items():
        yield from verbs(command, (*path, name))


VERBS = sorted(verbs(typer.main.get_command(make_app())))
NEEDED = """
up serve work migrate features upload usage
datasets:add,list,show,rescan,usage,delete weights:add,list
runs:submit,list,show,watch,logs,cancel,pause,resume,finish,fork,download
sweeps:submit,list,show,cancel,delete evaluations:submit,list,show,compare models:export,versions,promote,pin,download
tokens:create,revoke,rotate workers:list,show,drain,undrain
extractions:submit,list,show,pause,resume,cancel,download,delete
webhooks:create,list,log,test,redeliver,enable,disable,rotate,delete config:explain
"""

CALLS = {
    "datasets add photos /data/photos": "photos@1",
    "datasets list": "photos",
    "datasets show photos": "a/[b].jpg: truncated",
    "datasets add photos /data/photos --split val=held-out --split train=. --exclude *.gif": "photos@1",
    "datasets rescan photos --exclude drafts/*": "photos@1",
    "datasets usage photos": "model  detector:1",
    "datasets delete photos": "photos is deleted, 12.0 kB freed; made from it and kept: run run_1",
    "datasets delete photos@2 --dry-run": "photos@2 would be deleted",
    "upload {tmp}/a.jpg --kind weights": "upload:upl_1  (then: detco weights add upload:upl_1)",
    "weights add /data/w.pth --architecture resnet50 --name official": "9: head.0, head.1, head.2, head.3, head.4, ...",
    "weights list": "sha256:ab",
    "weights show official": "1: conv1.weight",
    "weights delete wts_1": "wts_1 is deleted, 9 B freed; made from it and kept: run run_1",
    "weights delete wts_1 --dry-run": "would be deleted",
    "runs submit photos --preset smoke --set train.steps=60": "run_2  queued",
    "runs submit photos --preset smoke --init weights=official --init strict=false": "run_2  queued",
    "runs fork run_1 --carry all --set train.steps=60": "run_fork  queued",
    "runs fork run_1 --dry-run": '"carry": "weights"',
    "runs submit photos --preset smoke --dry-run": '"dataset": "photos"',
    "runs list": "name of run_1",
    "runs show run_1": "step 3/20  epoch 1.5  21.3 img/s  4 min left",
    "runs watch run_1": "completed",
    "runs metrics run_1 --key loss": "50.5",
    "runs logs run_1": "step 2",
    "runs logs run_1 --follow": "followed",
    "runs cancel run_1": "run_1  cancelled",
    "runs pause run_1": "run_1  paused",
    "runs finish run_1": "run_1  completed",
    "runs kill run_1": "run_1",
    "runs kill run_1 run_9": "run_1  completed",
    "runs pause --group night --label a=b": "run_1  paused",
    "runs resume run_1 --gpus 2 --allow-world-size-change": "run_1  queued",
    "runs change run_1 --priority 5 --label team=vision --no-preemptible": "run_1  running",
    "runs attempts run_1": "SIGKILL",
    "tokens quota tok_1": "1 of any number",
    "tokens quota tok_1 --running 2": "1 of 2",
    "tokens quota tok_1 --images 4": "images             4",
    "runs download run_1 -o {tmp}/c.pt": "c.pt",
    "sweeps submit photos --preset smoke --grid seed=1,2 --evaluate knn:labelled": "swp_1  queued  2 runs",
    "sweeps submit photos --preset smoke --grid seed=[1,2] --dry-run": "2.0 h",
    "sweeps list": "2 completed",
    "sweeps show swp_1": "top1 of knn (evaluation)",
    "sweeps cancel swp_1": "swp_1  cancelled",
    "sweeps delete swp_1 --dry-run": "swp_1 would be deleted, 9 B freed",
    "runs checkpoints run_1": "latest",
    "runs keep run_1 --latest 5 --dry-run": "1 checkpoints would go, 16.4 kB",
    "runs pin run_1 20": "ckpt_20 (step 20) is pinned",
    "runs pin run_1 last --remove": "ckpt_20 (step 20) is free",
    "runs delete run_1": "run_1 is deleted, 9 B freed; made from it and kept: model version net:1",
    "evaluations delete eval_1 --dry-run": "eval_1 would be deleted",
    "models delete detector": "detector is deleted",
    "models delete detector 1 --dry-run": "detector:1 would be deleted",
    "models delete detector --alias staging": "detector@staging is taken away",
    "gc --dry-run": "2 objects that no table knows would be deleted",
    "evaluations submit knn --dataset labelled --random --option k=5": "top1 61.2",
    "evaluations submit knn --dataset labelled --weights wts_1": "top1 61.2",
    "evaluations submit knn --dataset labelled --random --dry-run": '"basis": "measured"',
    "extractions submit backbone photos --levels res4,res5 --pool avg --option normalize=l2 --wait": "backbone:1",
    "extractions submit backbone photos --dry-run": '"basis": "arithmetic"',
    "extractions list": "xtr_2",
    "extractions show xtr_1": "data set photos@1: CC0",
    "extractions show xtr_2": "broken  [9].jpg: it is torn",
    "extractions cancel xtr_1": "cancelled",
    "extractions pause xtr_1": "pausing",
    "extractions resume xtr_1": "queued",
    "extractions download xtr_1 -o {tmp}/features": "features",
    "extractions delete xtr_1 --dry-run": "xtr_1 would be deleted, 4.1 kB freed",
    "evaluations list": "eval_2",
    "evaluations show eval_1": "one sentence",
    "evaluations compare eval_1 eval_2": "random",
    "models export detector --run run_1": "detector:1",
    "models export detector --run run_1 --input short_side=800 --input max_side=1333": "detector:1",
    "models export detector --weights wts_1 --format onnx --format timm": "detector:1",
    "models export detector --weights wts_1 --input mean=[0.5] --input std=[0.25]": "detector:1",
    "models list": "production -> 1",
    "models versions detector": "resnet18",
    "models show detector 1": "onnx 1.5e-07",
    "models promote detector 1": "detector@production -> version 1",
    "models pin detector 1 lab": "pinned for lab",
    "models pin detector 1 lab --remove": "free of lab",
    "models download detector 1 -o {tmp}/m.onnx": "m.onnx",
    "features {tmp}/a.jpg {tmp}/b.jpg --levels res2,res5 -o {tmp}/f.npz": "[1, 2, 2, 3] float32",
    "tokens create ci --scope read --scope submit": "dt_the_secret",
    "usage": "5.0 MB",
    "usage --by group --since 2026-03-01": "2.0 h",
    "tokens list": "ci",
    "tokens revoke tok_1": "tok_1 is revoked",
    "tokens rotate tok_1": "dt_the_secret",
    "workers list": "1 of 1 train",
    "workers show wkr_1": "GPU-1",
    "workers drain wkr_1 --preempt": "wkr_1 of here is draining; it holds run_1",
    "workers undrain wkr_1": "wkr_1 of here is active",
    "webhooks create https://example.org/ --event run.* --event alias.moved": "whsec_shown",
    "webhooks list": "it is gone",
    "webhooks log whk_1 --state failed": "500",
    "webhooks test whk_1": "dlv_1 is on its way",
    "webhooks redeliver whk_1 dlv_1": "dlv_1 is on its way",
    "webhooks enable whk_1": "whk_1 is enabled",
    "webhooks disable whk_1": "whk_1 is disabled",
    "webhooks rotate whk_1": "whsec_anew",
    "webhooks delete whk_1": "whk_1 is deleted",
    "config explain smoke": "train.checkpoint_every",
}
WITH_JSON = [
    call
    for call in CALLS
    if not any(w in call for w in ("watch", "logs", "download", "pin", "revoke", "dry", "delete", "able"))
]

MISTAKES = {
    "runs show nope": "error: there is no run nope",
    "sweeps show nope": "error: there is no sweep nope",
    "runs resume run_1": "error: a running run cannot resume; it can pause",
    "runs submit photos --preset smoke --set lr=1 --set train.stepz=2": "overrides.train.stepz: unknown key",
    "runs download run_1 --checkpoint 11": "saved at steps: 10, 20",
    "datasets add x s3://elsewhere": "outside the allowed roots",
    "weights add /w.txt --architecture resnet50": "error: weights wts_bad is failed: it is text",
    "weights delete wts_held": "held by run run_1",
    "datasets add empty /data/empty": "error: data set empty is failed: no image in it",
    "models download detector 1 --format timm": "it has onnx, torchvision, manifest",
    "features nowhere.jpg": "cannot read nowhere.jpg",
}
WRONG_WORDS = {
    "datasets delete photos@new": "NAME@VERSION",
    "datasets add p /p --split val": "--split NAME=FOLDER",
    "runs submit photos": "--preset",
    "runs submit photos --preset smoke --set steps": "is not KEY=VALUE",
    "runs fly": "fly",
    "usage --by mood": "mood",
    "usage --since noon": "noon",
    "sweeps submit photos --preset smoke": "--grid",
    "sweeps submit photos --preset smoke --grid seed=1 --evaluate knn": "is not TASK:DATASET",
    "evaluations submit knn --dataset d": "exactly one of --run, --model, --weights, --random",
    "models export detector": "exactly one of --run, --weights",
    "runs fork run_1 --carry none": "carry",
    "evaluations submit knn --dataset d --random --model m": "not 2",
    "models promote detector one": "version",
    "models promote detector 0": "version",
    "config explain nope": "detco_r50",
    "serve --only database": "database",
    "features": "IMAGE",
}


@pytest.fixture
def detco(service: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """Run the command in this process; gives exit code, output and errors."""
    service.state.runs = {"run_1": _run("run_1")}
    service.state.events = [(1, "log", {"text": "followed\n"})]
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8\xffaa")
    (tmp_path / "b.jpg").write_bytes(b"\xff\xd8\xffbbb")
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("TERM", "dumb")

    def call(words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["detco", *words.format(tmp=tmp_path).split()])
        with pytest.raises(SystemExit) as exit:
            module.main()
        printed = capsys.readouterr()
        return int(exit.value.code or 0), printed.out, printed.err

    return call


def _run(id: str) -> dict[str, Any]:
    progress = {"step": 3, "steps": 20, "epoch": 1.5, "epochs": 10.0, "images_per_second": 21.3, "data_wait": 0.0}
    return {
        "id": id,
        "created_at": "2026-01-02T03:04:05Z",
        "name": f"name of {id}",
        "state": "running",
        "progress": {**progress, "eta_seconds": 240.0},
        "metrics": {"loss": 50.5, "loss/g2g/res2": 6.1},
        "dataset": "photos@1",
    }


def test_every_verb_the_interface_promises_is_there() -> None:
    for word in NEEDED.split():
        group, _, names = word.partition(":")
        for name in names.split(","):
            assert ((group, name) if name else (group,)) in VERBS


@pytest.mark.parametrize("verb", VERBS, ids=" ".join)
def test_every_verb_explains_itself(detco: Any, verb: tuple[str, ...]) -> None:
    code, out, _ = detco(" ".join([*verb, "--help"]))
    assert code == 0
    assert " ".join(["detco", *verb]) in out


def test_every_verb_is_called_below() -> None:
    called = {tuple(call.split()[:2]) for call in CALLS} | {("features",), ("upload",), ("gc",), ("runs", "resume")}
    leaves = {verb for verb in VERBS if not any(other[:-1] == verb for other in VERBS if other)}
    assert leaves - {("up",), ("serve",), ("work",), ("migrate",)} <= called


@pytest.mark.parametrize("call", CALLS)
def test_a_verb_answers(detco: Any, service: Any, call: str) -> None:
    if "watch" in call:
        service.state.runs["run_1"]["state"] = "completed"
    code, out, err = detco(call)
    assert (code, err) == (0, "")
    assert CALLS[call] in out


@pytest.mark.parametrize("call", WITH_JSON)
def test_a_verb_answers_in_json(detco: Any, call: str) -> None:
    code, out, err = detco(f"{call} --json")
    assert (code, err) == (0, "")
    json.loads(out)


@pytest.mark.parametrize("call", MISTAKES)
def test_what_the_service_refuses_is_said_in_one_line(detco: Any, call: str) -> None:
    code, out, err = detco(call)
    assert (code, out) == (1, "")
    assert MISTAKES[call] in err
    assert "Traceback" not in err
    assert err.startswith("error: ")


@pytest.mark.parametrize("call", WRONG_WORDS)
def test_a_wrong_command_line_exits_with_2(detco: Any, call: str) -> None:
    code, _, err = detco(call)
    assert code == 2
    assert WRONG_WORDS[call] in err
    assert "Traceback" not in err


def test_a_run_that_fails_fails_the_watch(detco: Any, service: Any) -> None:
    service.state.runs["run_1"] |= {"state": "failed", "reason": "the loss is not a number"}
    code, out, _ = detco("runs watch run_1")
    assert code == 1
    assert "the loss is not a number" in out


def test_a_start_is_sent_as_it_is_typed(detco: Any, service: Any) -> None:
    detco("runs submit photos --preset smoke --init run=run_1 --init checkpoint=last --init strict=false")
    assert service.state.bodies[-1]["init"] == {"run": "run_1", "checkpoint": "last", "strict": False}


def test_a_run_shows_where_it_comes_from_and_what_it_warned_of(detco: Any, service: Any) -> None:
    said = {"code": "collapse", "message": "res5 [std 0.0]", "details": {}, "count": 3, "time": "2026-01-02T03:04:05Z"}
    forked = {"run": "run_0", "checkpoint": "ckpt_9", "carry": "all"}
    service.state.runs["run_1"] |= {"warnings": [said], "forked_from": forked}
    for call in ("runs show run_1", "runs watch run_1"):
        service.state.runs["run_1"]["state"] = "completed"
        out = detco(call)[1]
        assert "warning  collapse: res5 [std 0.0]  (3 times, the last" in out
    assert "all of run_0 (checkpoint ckpt_9)" in detco("runs show run_1")[1]
    service.state.runs["run_1"] |= {"forked_from": None, "init": {"weights_id": "wts_1", "strict": False}}
    assert "weights wts_1 (what fits)" in detco("runs show run_1")[1]


def test_a_data_set_shows_its_channels(detco: Any) -> None:
    assert "1 (40 images, mean 0.50, std 0.25, 16 bits)" in detco("datasets show photos")[1]


def test_features_that_can_wait_say_so(detco: Any, service: Any) -> None:
    detco("features {tmp}/a.jpg --bulk")
    assert service.state.bodies[-1]["priority"] == "bulk"
    detco("features {tmp}/a.jpg")
    assert "priority" not in service.state.bodies[-1]


def test_features_are_written_as_numpy_reads_them(detco: Any, tmp_path: Path) -> None:
    detco("features {tmp}/a.jpg {tmp}/b.jpg --levels res2,res5 -o {tmp}/many")
    with np.load(tmp_path / "many") as arrays:
        assert sorted(arrays) == ["0/res2", "0/res5", "1/res2", "1/res5"]
        assert arrays["1/res5"].max() == 6
    detco("features {tmp}/a.jpg -o {tmp}/one.npz")
    with np.load(tmp_path / "one.npz") as arrays:
        assert list(arrays) == ["res5"]


def test_a_picture_that_fails_fails_the_command_after_the_others(detco: Any, tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(b"broken")
    code, out, _ = detco("features {tmp}/a.jpg {tmp}/b.jpg")
    assert code == 1
    assert "error: no picture" in out
    assert "[1, 2, 2, 3]" in out


def test_rotation_gives_the_old_token_an_end(detco: Any, service: Any) -> None:
    detco("tokens rotate tok_1 --grace 60")
    detco("tokens create ci --scope read --days 2")
    assert service.state.bodies == [
        {"grace_seconds": 60},
        {"name": "ci", "scopes": ["read"], "expires_in_seconds": 172800},
    ]


def test_nothing_there_is_said_with_its_remedy(detco: Any) -> None:
    code, out, err = detco("--url http://127.0.0.1:9 runs list")
    assert (code, out) == (1, "")
    assert err.startswith("error: cannot reach the service at http://127.0.0.1:9")
    assert "remedy: start one with `detco up`" in err


@pytest.mark.slow
def test_the_command_runs_as_a_process() -> None:
    command = [sys.executable, "-m", "detco_client", "config", "explain", "smoke", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["train.steps"]["value"] == 20
