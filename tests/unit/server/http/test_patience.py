"""Who watches has an answer in time, whatever the tables do."""

import threading

import pytest

from server.http.patience import Patience


def test_an_answer_or_an_error_comes_through() -> None:
    patience = Patience(60)
    assert patience.ask(lambda: 7) == 7
    with pytest.raises(ZeroDivisionError):
        patience.ask(lambda: 1 / 0)


def test_a_question_that_hangs_is_given_up_and_those_behind_it_are_never_asked() -> None:
    patience, go_on, asked = Patience(0.05), threading.Event(), list[int]()
    with pytest.raises(TimeoutError, match=r"has not answered for 0\.05 s"):
        patience.ask(go_on.wait)
    for n in range(3):
        with pytest.raises(TimeoutError):
            patience.ask(lambda n=n: asked.append(n))  # type: ignore[misc]  # mypy has no type for a lambda's default
    go_on.set()
    patience._seconds = 60.0
    assert patience.ask(lambda: 7) == 7
    assert asked == []
