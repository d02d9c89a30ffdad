from collections.abc import Callable

import pytest
from sqlalchemy import Engine, text

from control.db.session import unit_of_work
from control.records.journal import logs
from control.records.journal.logs import Piece, Stretch
from control.records.life.leases import Outcome, close
from control.records.scheduling.claims import Claim
from control.records.scheduling.workers import WorkerIdentity


@pytest.fixture
def taken(
    make_worker: Callable[..., WorkerIdentity],
    make_run: Callable[..., str],
    claim_run: Callable[..., Claim | None],
) -> Claim:
    make_run()
    found = claim_run(make_worker())
    assert found is not None
    return found


@pytest.fixture
def of(taken: Claim) -> tuple[str, int, int]:
    return taken.run_id, taken.fence, 0


def put(engine: Engine, of: tuple[str, int, int], *starts: int, size: int = 10) -> None:
    with unit_of_work(engine) as session:
        for start in starts:
            assert logs.append(session, *of, start, b"%010d" % start if size == 10 else b"x" * size)


def kept(engine: Engine, of: tuple[str, int, int]) -> list[tuple[int, int, str | None]]:
    with unit_of_work(engine) as session:
        return [(piece.start, piece.size, piece.key) for piece in logs.pieces(session, *of)]


def test_what_was_printed_is_kept_once_and_in_order(engine: Engine, of: tuple[str, int, int]) -> None:
    put(engine, of, 10, 0)
    put(engine, of, 0, 10, 20)
    for other in ((of[0], of[1] + 1, 0), (of[0], of[1], 1)):
        put(engine, other, 0)
    assert kept(engine, of) == [(0, 10, None), (10, 10, None), (20, 10, None)]
    with unit_of_work(engine) as session:
        assert logs.length(session, *of) == 30
        assert logs.length(session, of[0], 99, 0) == 0
        assert logs.stretches(session, *of, 9, 20) == [
            Stretch(0, b"0000000000", None, 10),
            Stretch(10, b"0000000010", None, 10),
        ]
        assert logs.stretches(session, *of, 30, 40) == []
        assert not logs.append(session, "run_none", 1, 0, 0, b"?")


def test_pieces_go_to_the_store_together(engine: Engine, of: tuple[str, int, int]) -> None:
    put(engine, of, 0, 10, 20, 50)
    with unit_of_work(engine) as session:
        assert [piece.start for piece in logs.loose(session, *of)] == [0, 10, 20]
        assert logs.seal(session, *of, Piece(0, 20, "sha256/a"))
    with unit_of_work(engine) as session:  # one who looked earlier, and one who does it again
        assert not logs.seal(session, *of, Piece(0, 30, "sha256/b"))
        assert not logs.seal(session, *of, Piece(0, 20, "sha256/a"))
        assert [piece.start for piece in logs.loose(session, *of)] == [20]
    assert kept(engine, of) == [(0, 20, "sha256/a"), (20, 10, None), (50, 10, None)]


def test_a_long_log_keeps_its_beginning_and_its_end(engine: Engine, of: tuple[str, int, int]) -> None:
    put(engine, of, *range(0, 200, 10))
    with unit_of_work(engine) as session:
        assert logs.rotate(session, *of, most=200) == 0
        assert logs.rotate(session, *of, most=80) == 120
        assert logs.rotate(session, *of, most=80) == 0
    assert [start for start, _, _ in kept(engine, of)] == [0, 10, *range(140, 200, 10)]
    with unit_of_work(engine) as session:
        assert logs.length(session, *of) == 200
        assert logs.rotate(session, *of, most=1) == 70
    assert [start for start, _, _ in kept(engine, of)] == [190]


def test_what_ended_attempts_left_in_rows_is_found(engine: Engine, of: tuple[str, int, int]) -> None:
    put(engine, of, 0, 10)
    with unit_of_work(engine) as session:
        assert logs.ended_with_loose(session) == []
        assert close(session, *of[:2], Outcome(kind="lost"))
        assert logs.ended_with_loose(session) == [of]
        assert logs.seal(session, *of, Piece(0, 20, "sha256/a"))
        assert logs.ended_with_loose(session) == []


def test_loose_pieces_are_found_by_their_index(engine: Engine, of: tuple[str, int, int]) -> None:
    query = "SELECT run_id, fence FROM log_pieces WHERE key IS NULL"
    with engine.connect() as connection:
        if engine.dialect.name == "sqlite":
            plan = [row[3] for row in connection.execute(text(f"EXPLAIN QUERY PLAN {query}"))]
        else:
            connection.execute(text("SET LOCAL enable_seqscan = off"))
            plan = [row[0] for row in connection.execute(text(f"EXPLAIN {query}"))]
    assert "ix_log_pieces_loose" in "".join(plan)
