import pytest
from sqlalchemy import Engine

from control.db.session import unit_of_work
from control.errors import InvalidRequest
from control.records.access.audit import Wanted, list_entries, note
from control.records.paging import Page


def test_acts_are_remembered_newest_first(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        for number in range(3):
            note(session, "anna", "alias.set", f"net@{number}", {"to": number}, request_id="req")
            session.flush()
    with unit_of_work(engine) as session:
        first = list_entries(session, page=Page(2))
        rest = list_entries(session, page=Page(2, first.next_page_token))
        assert [entry.details["to"] for entry in first.items + rest.items] == [2, 1, 0]
        assert rest.next_page_token is None
        assert [entry.actor for entry in list_entries(session, Wanted(target="net@1")).items] == ["anna"]


@pytest.mark.parametrize("token", ["x", "!!!!", "YWJj", "\udcff", "MQ==MQ=="])
def test_tokens_that_are_not_ours_are_refused(engine: Engine, token: str) -> None:
    with unit_of_work(engine) as session, pytest.raises(InvalidRequest, match="page_token"):
        list_entries(session, page=Page(2, token))
