from pathlib import Path

import pytest

from examples.demo import __main__ as module
from examples.demo import service


@pytest.fixture(autouse=True)
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "OUT", tmp_path / "demo")
    return tmp_path / "demo"


def test_photos_that_are_not_there_fail_the_demo(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PHOTOS", str(out / "nowhere"))
    assert module.main() == 1
    assert "nowhere, which is not a folder" in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_a_service_that_fails_fails_the_demo_with_the_end_of_its_log(
    out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = "import sys; [print('line', n) for n in range(100)]; sys.exit(5)"
    monkeypatch.setattr(service, "COMMAND", ("-c", lines))
    assert module.main() == 1
    printed = capsys.readouterr().out
    assert "the service ended with 5" in printed
    assert "line 99" in printed
    assert "line 9\n" not in printed


def test_an_earlier_demo_is_forgotten(out: Path) -> None:
    (out / "data" / "work").mkdir(parents=True)
    (out / "summary.md").write_text("of the earlier one")
    module.clear(out)
    assert not (out / "data").exists()
