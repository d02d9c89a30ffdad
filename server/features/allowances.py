"""What one token may take of this server: images under way at once, and pixels a second over time.

Counted in memory by each server process for itself, so that nothing is asked of anyone. Pixels are a debt that is
worked off at the token's rate: who owes less than a second's worth is let in, and pays for what it brought.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from server.features.errors import OverLimit

_MOST = 10_000
"""Tokens remembered; those that owe nothing are forgotten first."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Caller:
    """Who asks, and what the token may take; None: as much as the server gives to any."""

    token: str
    """Its id."""
    name: str
    images: int | None = None
    """Under way at once."""
    pixels_per_second: int | None = None


@dataclass(slots=True)
class _Account:
    images: int = 0
    """Under way now."""
    debt: float = 0.0
    """Pixels not worked off at `at`."""
    at: float = 0.0


class Allowances:
    """The accounts of all tokens. Used from one event loop."""

    def __init__(
        self,
        images: int | None = None,
        pixels_per_second: int | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """The bounds of tokens that have none of their own; None: no bound."""
        self._images = images
        self._pixels = pixels_per_second
        self._clock = clock
        self._accounts: OrderedDict[str, _Account] = OrderedDict()

    def check(self, caller: Caller | None, images: int = 1) -> None:
        """Raise `OverLimit` when the token may not bring so many images more just now."""
        if caller is None:
            return
        account, most = self._account(caller), self.most_images(caller)
        if most is not None and account.images + images > most:
            message = f"token {caller.name!r} may have {most} images under way at once, and has {account.images}"
            raise OverLimit(message, 1, "images")
        rate = self._rate(caller)
        if rate is not None and (owed := account.debt) >= rate:
            message = f"token {caller.name!r} may send {rate} pixels a second, and is {owed:.0f} ahead of that"
            # Then it owes less: a debt of exactly a second's worth is refused too.
            raise OverLimit(message, math.floor((owed - rate) / rate) + 1, "pixels_per_second")

    @contextmanager
    def enter(self, caller: Caller | None, images: int) -> Iterator[None]:
        """Count so many images as under way for as long as the block runs; raises `OverLimit`."""
        if caller is None:
            yield
            return
        self.check(caller, images)
        account = self._account(caller)
        account.images += images
        try:
            yield
        finally:
            account.images -= images

    def measures(self, caller: Caller | None) -> bool:
        """Whether this caller's pixels are counted."""
        return caller is not None and self._rate(caller) is not None

    def charge(self, caller: Caller | None, pixels: int) -> None:
        """Note pixels that the caller has brought."""
        if caller is not None and self._rate(caller) is not None:
            self._account(caller).debt += pixels

    def most_images(self, caller: Caller | None) -> int | None:
        """The most images the caller may ever have under way; None: any number."""
        return None if caller is None else self._images if caller.images is None else caller.images

    def _rate(self, caller: Caller) -> int | None:
        return self._pixels if caller.pixels_per_second is None else caller.pixels_per_second

    def _account(self, caller: Caller) -> _Account:
        """The account as of now."""
        now, rate = self._clock(), self._rate(caller)
        account = self._accounts.setdefault(caller.token, _Account(at=now))
        self._accounts.move_to_end(caller.token)
        account.debt = 0.0 if rate is None else max(0.0, account.debt - rate * (now - account.at))
        account.at = now
        if len(self._accounts) > _MOST:
            self._forget()
        return account

    def _forget(self) -> None:
        idle = next((token for token, account in self._accounts.items() if not account.images), None)
        if idle is not None:
            del self._accounts[idle]
