"""Object ids: a word for the kind, `_`, and 26 characters that sort by the time of creation."""

import secrets
import time

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_TIME_BITS = 48
_RANDOM_BITS = 80


def new_id(prefix: str) -> str:
    """`run_01k...`: 48 bits of milliseconds and 80 random bits in Crockford's base 32, lower case."""
    value = (time.time_ns() // 1_000_000) % (1 << _TIME_BITS) << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return f"{prefix}_" + "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))
