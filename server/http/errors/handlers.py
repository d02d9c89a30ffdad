"""Turns every error that leaves a route into its problem document."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import DataError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import Response

from control.errors import ControlError
from detco_core.contract.errors import ImageError, InvalidDocument
from server.features.errors import FeatureError
from server.http.errors.translations import (
    from_control,
    from_document,
    from_feature,
    from_http,
    from_image,
    from_validation,
)
from server.http.problems import Problem, render

log = logging.getLogger(__name__)


Translate = Callable[[Any, Request], Problem | None]


def install(app: FastAPI) -> None:
    """Have `app` answer every error as application/problem+json; what is not known here becomes a 500 outside."""
    for kind in _TRANSLATIONS:
        app.add_exception_handler(kind, _handler(lambda error, _: problem_of(error)))
    app.add_exception_handler(HTTPException, _handler(from_http))
    app.add_exception_handler(RequestValidationError, _handler(from_validation))


def problem_of(error: Exception) -> Problem | None:
    """What an error says to a caller, whatever carried the call; None when nobody meant it to be raised."""
    translations = (_TRANSLATIONS.get(kind) for kind in type(error).__mro__)
    translate = next(filter(None, translations), None)
    return None if translate is None else translate(error)


def _database_away(error: SQLAlchemyError) -> Problem:
    log.error("the database cannot be used: %s", error)
    detail = "the database cannot be reached or is too busy; try again shortly"
    return Problem("unavailable", detail, code="database_unavailable", headers={"Retry-After": "2"})


def _unstorable(error: Exception) -> Problem:
    """A net below the bounds of the schemas: SQLite's driver and PostgreSQL refuse what no column can hold."""
    log.warning("a value could not be stored: %s", error)
    return Problem("invalid_request", "a number or a text is larger than the service can keep", code="value_too_large")


_TRANSLATIONS: Mapping[type[Exception], Callable[[Any], Problem]] = {
    Problem: lambda error: error,
    ControlError: from_control,
    FeatureError: from_feature,
    ImageError: from_image,
    InvalidDocument: from_document,
    DataError: _unstorable,
    OverflowError: _unstorable,
    OperationalError: _database_away,
    InterfaceError: _database_away,
    PoolTimeout: _database_away,
}


def _handler(translate: Translate) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        problem = translate(error, request)
        assert problem is not None  # noqa: S101 - only kinds with a translation are installed
        return render(problem, request.scope)

    return handle
