"""Logging, set up once per process; what looks like a secret is never written."""

import logging
import re
import time

_SECRETS = re.compile(
    r"""(?x)
    (?P<tell> detco_ | whsec_ | Bearer\s+ | [Aa]uthorization['"]?[:=]\s*['"]? (?:Bearer\s+|Basic\s+)? )
    (?P<secret> [A-Za-z0-9._~+/=-]{16,} )
    | (?<=://) (?P<user> [^\s:/@'"]* ) : (?P<password> [^\s/@'"]+ ) @
    | (?P<name> (?:password|passwd|secret|secret_key|access_key|webhook_key) ['"]? [:=] \s* ['"]? )
      (?P<value> [^\s'",;)&]+ )
    """
)
_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {9: "\t", 10: "\\n", 13: "\\r"}
_FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)-7s %(name)s: %(message)s"


def redact(text: str) -> str:
    """The text with tokens, signing secrets and passwords blotted out; enough is left to tell them apart."""
    return _SECRETS.sub(_blot, text)


def _blot(found: re.Match[str]) -> str:
    if found["secret"] is not None:
        return f"{found['tell']}{found['secret'][:4]}***"
    if found["password"] is not None:
        return f"{found['user']}:***@"
    return f"{found['name']}***"


class _Redacting(logging.Formatter):
    """Looks at the finished line, tracebacks included: a secret may come in by any argument or exception."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """One line, whatever a caller has put into a path or a name; tracebacks follow on lines of their own."""
        return super().formatMessage(record).translate(_CONTROLS)

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def configure(level: str = "INFO") -> None:
    """Send all logs from `level` up to stderr, in UTC; what libraries say below WARNING is left out."""
    formatter = _Redacting(_FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(logging.WARNING, logging.getLevelName(level.upper())))
    for name in ("control", "server", "worker", "uvicorn.error"):
        logging.getLogger(name).setLevel(level.upper())
