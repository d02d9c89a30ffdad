"""Which methods a path takes: what a 405 must name in `Allow` (RFC 9110, section 15.5.6).

The framework names those of the first route that fits the path; a path here often has several, one for each method.
"""

import re
from functools import cache

from fastapi import FastAPI


def allowed_methods(app: FastAPI, path: str) -> tuple[str, ...]:
    """Every method the document of `app` has for a path, and HEAD beside GET; none for a path it does not know."""
    paths = app.openapi()["paths"]
    fitting = [methods for template, methods in paths.items() if _pattern(template).fullmatch(path)]
    known = {method.upper() for methods in fitting for method in methods}
    return tuple(sorted(known | {"HEAD"} if "GET" in known else known))


@cache
def _pattern(template: str) -> re.Pattern[str]:
    # A file's name may hold slashes; it is the last part of its path.
    return re.compile(
        re.sub(r"\\{(\w+)\\}", lambda name: ".+" if name[1] == "artifact" else "[^/]+", re.escape(template))
    )
