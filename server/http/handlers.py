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
from server.http.problems import Problem, render
from server.http.translations import (
    from_control,
    from_document,
    from_feature,
    from_http,
    from_image,
    from_validation,
)

log = logging.getLogger(__name__)


Translate = Callable[[Any, Request], Problem]


def install(app: FastAPI) -> None:
    """Have `app` answer every error as application/problem+json; what is not known here becomes a 500 outside."""
    for kind, translate in _TRANSLATIONS.items():
        app.add_exception_handler(kind, _handler(translate))


def _database_away(error: SQLAlchemyError, _: Request) -> Problem:
    log.error("the database cannot be used: %s", error)
    detail = "the database cannot be reached or is too busy; try again shortly"
    return Problem("unavailable", detail, code="database_unavailable", headers={"Retry-After": "2"})


def _unstorable(error: Exception, _: Request) -> Problem:
    """A net below the bounds of the schemas: SQLite's driver and PostgreSQL refuse what no column can hold."""
    log.warning("a value could not be stored: %s", error)
    return Problem("invalid_request", "a number or a text is larger than the service can keep", code="value_too_large")


_TRANSLATIONS: Mapping[type[Exception], Translate] = {
    Problem: lambda error, _: error,
    ControlError: lambda error, _: from_control(error),
    FeatureError: lambda error, _: from_feature(error),
    ImageError: lambda error, _: from_image(error),
    InvalidDocument: lambda error, _: from_document(error),
    HTTPException: from_http,
    RequestValidationError: from_validation,
    DataError: _unstorable,
    OverflowError: _unstorable,
    OperationalError: _database_away,
    InterfaceError: _database_away,
    PoolTimeout: _database_away,
}


def _handler(translate: Translate) -> Callable[[Request, Exception], Awaitable[Response]]:
    async def handle(request: Request, error: Exception) -> Response:
        return render(translate(error, request), request.scope)

    return handle
