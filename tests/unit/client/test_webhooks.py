"""Proving messages, as a receiver does."""

import time
from typing import Any

import pytest

from control.signing import signature_headers
from detco_client import BadSignature, verify_webhook

SECRET, OTHER = ("whsec_" + letter * 40 for letter in "AB")
BODY = b'{"id":"evt_1","type":"run.completed"}'


def signed(age: float = 0.0, secrets: tuple[str, ...] = (SECRET,)) -> dict[str, str]:
    return signature_headers(secrets, "evt_1", int(time.time() - age), BODY)


def test_what_the_service_signs_is_proved() -> None:
    verify_webhook(SECRET, signed(), BODY)
    verify_webhook(SECRET, {name.title(): value for name, value in signed().items()}, BODY)
    verify_webhook(SECRET, signed(secrets=(OTHER, SECRET)), BODY)
    verify_webhook(SECRET, signed(age=3000), BODY, tolerance=3600)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"secret": OTHER}, "no signature"),
        ({"secret": "whsec_!"}, "not one"),
        ({"body": BODY + b" "}, "no signature"),
        ({"headers": {}}, "no header webhook-id"),
        ({"headers": signed() | {"webhook-id": "evt_2"}}, "no signature"),
        ({"headers": signed() | {"webhook-timestamp": "1"}}, "no signature"),
        ({"headers": signed() | {"webhook-timestamp": "now"}}, "not one"),
        ({"headers": signed() | {"webhook-signature": "v1, \u00e4"}}, "no signature"),
        ({"headers": signed(age=301)}, "old"),
        ({"headers": signed(age=-4000)}, "old"),
    ],
)
def test_what_is_not_genuine_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BadSignature, match=said):
        verify_webhook(**{"secret": SECRET, "headers": signed(), "body": BODY} | change)
