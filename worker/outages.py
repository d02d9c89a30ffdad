"""Which errors mean that the database is away and will be back; any other is a fault that waiting does not mend."""

from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

DATABASE_AWAY = (OperationalError, InterfaceError, PoolTimeout)
RETRY_SECONDS = 2.0
"""Before a database or a store that was away is tried again."""
