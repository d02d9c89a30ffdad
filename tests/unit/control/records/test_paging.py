from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine, create_engine, select
from sqlalchemy.orm import Session

from control.db.base import Base
from control.db.models import AuditEntry
from control.errors import InvalidRequest
from control.records.paging import MAX_PAGE_SIZE, Page, paginate


@pytest.fixture(scope="module")
def entries() -> Iterator[Engine]:
    engine = create_engine("sqlite://")
    Base.metadata.create_all(engine)
    with Session(engine) as session, session.begin():
        for _ in range(23):
            session.add(AuditEntry(actor="a", action="b", target="c", details={}))
    yield engine
    engine.dispose()


@given(size=st.integers(1, 30))
def test_pages_are_the_list_cut_up(entries: Engine, size: int) -> None:
    with Session(entries) as session:
        query = select(AuditEntry)
        seen: list[int] = []
        page = Page(size)
        while True:
            listing = paginate(session, query, AuditEntry.id, page)
            seen += [entry.id for entry in listing.items]
            if listing.next_page_token is None:
                break
            assert len(listing.items) == size
            page = Page(size, listing.next_page_token)
        assert seen == sorted(session.scalars(select(AuditEntry.id)), reverse=True)


def test_pages_upwards(entries: Engine) -> None:
    with Session(entries) as session:
        first = paginate(session, select(AuditEntry), AuditEntry.id, Page(20), ascending=True)
        rest = paginate(session, select(AuditEntry), AuditEntry.id, Page(20, first.next_page_token), ascending=True)
        assert rest.next_page_token is None
        ids = [entry.id for entry in (*first.items, *rest.items)]
        assert ids == sorted(session.scalars(select(AuditEntry.id)))


def test_what_is_added_meanwhile_shifts_nothing(entries: Engine) -> None:
    with Session(entries) as session:
        first = paginate(session, select(AuditEntry), AuditEntry.id, Page(5))
        session.add(AuditEntry(actor="a", action="b", target="c", details={}))
        session.flush()
        second = paginate(session, select(AuditEntry), AuditEntry.id, Page(5, first.next_page_token))
        assert second.items[0].id == first.items[-1].id - 1


@pytest.mark.parametrize("size", [0, -1, MAX_PAGE_SIZE + 1])
def test_sizes_are_bounded(entries: Engine, size: int) -> None:
    with Session(entries) as session, pytest.raises(InvalidRequest, match="page_size"):
        paginate(session, select(AuditEntry), AuditEntry.id, Page(size))
