"""Moments as numbers, which both databases can subtract and add up and each spells in its own way."""

from typing import Any

from sqlalchemy import Float
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class unix_time(FunctionElement[float]):  # noqa: N801 - used as SQLAlchemy's own functions are
    """Seconds since 1970 of a `UtcTime` column, to a millisecond."""

    inherit_cache = True
    type = Float(53)


@compiles(unix_time, "sqlite")
def _of_sqlite(element: unix_time, compiler: SQLCompiler, **options: Any) -> str:
    return f"((julianday({compiler.process(element.clauses, **options)}) - 2440587.5) * 86400.0)"


@compiles(unix_time, "postgresql")
def _of_postgresql(element: unix_time, compiler: SQLCompiler, **options: Any) -> str:
    return f"CAST(EXTRACT(EPOCH FROM {compiler.process(element.clauses, **options)}) AS DOUBLE PRECISION)"
