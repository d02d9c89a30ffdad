"""Whether a Redis is fit to be the broker: it must refuse what it has no room for, not forget other things for it."""

import redis

NEEDED = "noeviction"


def redis_trouble(url: str, timeout: float = 2.0) -> str | None:
    """What a person should mend, in a sentence; None when there is nothing, or when the server does not tell.

    A Redis that evicts loses the bindings of queues and messages with them (the service finds its work all the same,
    but later), and does so without a word.
    """
    client = redis.Redis.from_url(url, socket_connect_timeout=timeout, socket_timeout=timeout)
    try:
        found = client.config_get("maxmemory-policy").get("maxmemory-policy", NEEDED)
    except (redis.ConnectionError, redis.TimeoutError) as error:
        return f"Redis does not answer ({type(error).__name__}): work is found by looking, some seconds later"
    except redis.RedisError:  # a managed one may not show its settings
        return None
    finally:
        client.close()
    if found == NEEDED:
        return None
    return f"Redis may evict messages (maxmemory-policy {found}): set maxmemory-policy {NEEDED}, and appendonly yes"
