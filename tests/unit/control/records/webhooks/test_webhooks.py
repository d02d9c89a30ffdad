import pytest
from sqlalchemy import Engine, select

from control.db.models import Delivery, Webhook
from control.db.session import unit_of_work
from control.errors import Conflict, InvalidRequest, NotFound
from control.records.paging import Page
from control.records.webhooks import webhooks
from control.records.webhooks.notices import TYPES, check_patterns, owe_test
from control.records.webhooks.webhooks import (
    change_webhook,
    create_webhook,
    delete_webhook,
    get_webhook,
    list_webhooks,
    rotate_secret,
)
from control.signing import check_of

KEY = b"k" * 32


def make(engine: Engine, *events: str) -> Webhook:
    with unit_of_work(engine) as session:
        return create_webhook(session, KEY, "https://example.org/", events or ("*",), "anna").webhook


def test_made_listed_changed_deleted(engine: Engine) -> None:
    first, second = make(engine, "run.*", "run.*", "alias.moved"), make(engine)
    assert first.events == ["alias.moved", "run.*"]
    with unit_of_work(engine) as session:
        page = list_webhooks(session, Page(1))
        rest = list_webhooks(session, Page(1, page.next_page_token))
        assert {one.id for one in page.items + rest.items} == {first.id, second.id}
        changed = change_webhook(session, first.id, events=["run.failed"], enabled=False)
        assert (changed.events, changed.enabled, changed.url) == (["run.failed"], False, "https://example.org/")
        owe_test(session, second, "anna")
        delete_webhook(session, second.id)
        assert session.scalars(select(Delivery)).all() == []
        with pytest.raises(NotFound):
            get_webhook(session, second.id)


def test_no_secret_is_in_a_row_and_a_new_one_is_another(engine: Engine) -> None:
    with unit_of_work(engine) as session:
        made = create_webhook(session, KEY, "https://example.org/", ["*"], "anna")
    with unit_of_work(engine) as session:
        again = rotate_secret(session, KEY, made.webhook.id)
        row = session.get_one(Webhook, made.webhook.id)
        kept = " ".join(str(getattr(row, column.key)) for column in Webhook.__table__.columns)
    assert again.secret != made.secret
    assert check_of(again.secret) in kept
    assert made.secret not in kept
    assert again.secret not in kept
    assert row.rotated_at is not None


def test_patterns_of_events_there_are() -> None:
    check_patterns([*TYPES, "*", "run.*", "model.*", "alarm.*"])


@pytest.mark.parametrize("pattern", ["run", "run.", "run.c*", "*.failed", "**", "run.*.x", "", "RUN.*", "[r]un.*", "?"])
def test_patterns_of_none_are_refused(pattern: str) -> None:
    with pytest.raises(InvalidRequest, match=r"events\.1"):
        check_patterns(["*", pattern])


def test_there_is_an_end(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    make(engine)
    monkeypatch.setattr(webhooks, "MOST", 1)
    with pytest.raises(Conflict, match="delete one first"):
        make(engine)
