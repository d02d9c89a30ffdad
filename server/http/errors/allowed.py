"""Which methods a path takes: what a 405 must name in `Allow` (RFC 9110, section 15.5.6).

The framework names those of the first route that fits the path; a path here often has several, one for each method.
"""

from collections.abc import Iterable

from starlette.routing import BaseRoute, Match

METHODS = ("DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")
"""HEAD is answered wherever GET is."""


def allowed_methods(routes: Iterable[BaseRoute], path: str) -> tuple[str, ...]:
    """Every method with which one of `routes` takes a path, and HEAD beside GET; none for a path they do not know."""
    asked = {"type": "http", "path": path, "root_path": "", "headers": []}
    candidates = [route for route in routes if route.matches({**asked, "method": ""})[0] is not Match.NONE]
    known = {
        method
        for method in METHODS
        if any(route.matches({**asked, "method": method})[0] is Match.FULL for route in candidates)
    }
    return tuple(sorted(known | {"HEAD"} if "GET" in known else known))
