"""Who may do what, and who is told: tokens, quotas, webhooks and their deliveries."""

from typing import Any, Literal, TypedDict

from detco_client.resources.base import Resource


class Token(Resource):
    """A token without its secret."""

    name: str
    prefix: str
    """The beginning of the secret, to tell tokens apart."""
    scopes: list[str]
    models: list[str] | None
    expires_at: str | None
    revoked_at: str | None
    last_used_at: str | None
    replaces: str | None
    quota: dict[str, int | None]
    """The most it may have at once: `running`, `slots`, `queued`; of a feature server `images`, `pixels_per_second`.
    None: any number, or as the server is set."""


class Quota(TypedDict):
    """What a token may have at once, and what it has."""

    quota: dict[str, int | None]
    used: dict[str, int]


class NewToken(Token):
    """A token just made; `token` is shown this once."""

    token: str


class Webhook(Resource):
    """An address that is told of events, without its secret."""

    url: str
    events: list[str]
    description: str | None
    enabled: bool
    disabled_reason: str | None
    failing_since: str | None
    delivered_at: str | None
    rotated_at: str | None


class NewWebhook(Webhook):
    """A webhook just made, or its secret made anew: `secret` is shown this once."""

    secret: str


class Delivery(TypedDict):
    """One event for one webhook."""

    id: str
    webhook: str
    event: str
    """The same for every try."""
    type: str
    state: Literal["pending", "delivered", "failed"]
    tries: int
    created_at: str
    due_at: str | None
    delivered_at: str | None
    attempts: list[dict[str, Any]]
    """`time`, `status`, `error`, `milliseconds` and `answer` of the newest tries, oldest first."""
    payload: dict[str, Any]
