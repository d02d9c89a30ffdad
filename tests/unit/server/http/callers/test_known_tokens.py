"""Known tokens survive a restart, hold no secret, and a damaged file is no error."""

import json
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from control.records.access.principals import Principal
from server.http.callers import known_tokens
from server.http.callers.known_tokens import KnownTokens


def principal(name: str = "a", models: frozenset[str] | None = None) -> Principal:
    return Principal(f"tok_{name}", name, frozenset({"read", "features"}), models, datetime(2030, 1, 2, tzinfo=UTC))


@pytest.mark.parametrize("models", [None, frozenset({"m", "n"})])
def test_what_is_remembered_is_read_again(tmp_path: Path, models: frozenset[str] | None) -> None:
    path = tmp_path / "serving" / "tokens.json"
    bounded = replace(principal(models=models), images=3, pixels_per_second=2**40)
    KnownTokens(path).remember("d1", bounded)
    assert KnownTokens(path).get("d1") == bounded
    assert KnownTokens(path).get("d2") is None


def test_the_file_is_the_owners_alone(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    KnownTokens(path).remember("d1", principal())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_oldest_go_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_tokens, "_MOST", 2)
    known = KnownTokens(tmp_path / "tokens.json")
    for digest in ("d1", "d2", "d1", "d3"):
        known.remember(digest, principal())
    assert [known.get(digest) is not None for digest in ("d1", "d2", "d3")] == [True, False, True]


def test_what_is_forgotten_stays_so(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    known = KnownTokens(path)
    known.remember("d1", principal())
    known.forget("d1")
    known.forget("never seen")
    assert KnownTokens(path).get("d1") is None


def test_a_file_of_an_earlier_version_knows_no_bounds(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    old = {"token_id": "tok_a", "name": "a", "scopes": ["features"], "models": None, "expires_at": None}
    path.write_text(json.dumps({"d1": old}))
    found = KnownTokens(path).get("d1")
    assert found is not None
    assert (found.images, found.pixels_per_second) == (None, None)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"d1": {}}', '{"d1": 7}', "\x00"])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(content)
    known = KnownTokens(path)
    assert known.get("d1") is None
    known.remember("d1", principal())
    assert KnownTokens(path).get("d1") == principal()


def test_what_could_not_be_written_is_written_later(tmp_path: Path) -> None:
    folder = tmp_path / "serving"
    folder.touch()
    known = KnownTokens(folder / "tokens.json")
    known.remember("d1", principal())
    assert known.get("d1") == principal()
    folder.unlink()
    known.remember("d1", principal())
    assert KnownTokens(folder / "tokens.json").get("d1") == principal()


def test_a_process_without_a_file_keeps_them_in_memory(tmp_path: Path) -> None:
    known = KnownTokens(None)
    known.remember("d1", principal())
    assert known.seen() == {"d1": principal()}


def test_those_who_share_a_file_see_what_the_others_know(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    one, two = KnownTokens(path), KnownTokens(path)
    one.remember("d1", principal("a"))
    two.remember("d2", principal("b"))
    seen = one.seen()
    assert seen == {"d1": principal("a"), "d2": principal("b")}
    one.correct(seen, seen)
    assert KnownTokens(path).seen() == seen


def test_nobody_who_asks_waits_for_the_disk(tmp_path: Path) -> None:
    known = KnownTokens(tmp_path / "tokens.json")
    known.remember("d1", principal())
    with known._writing:  # as by a disk that hangs
        assert known.get("d1") == principal()


def test_what_is_as_it_was_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    known = KnownTokens(path)
    known.remember("d1", principal())
    path.unlink()
    known.remember("d1", principal())
    known.forget("d2")
    assert not path.exists()
    known.correct(known.seen(), {"d1": principal()})  # the look of every half minute sees that it is gone
    assert KnownTokens(path).get("d1") == principal()


def test_many_tokens_that_come_together_are_all_kept(tmp_path: Path) -> None:
    known = KnownTokens(tmp_path / "tokens.json")
    with ThreadPoolExecutor(4) as threads:
        for n in range(40):
            threads.submit(known.remember, f"d{n}", principal(str(n)))
    assert len(KnownTokens(tmp_path / "tokens.json").seen()) == 40
