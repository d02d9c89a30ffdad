"""Column types of migration 0001."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

WORDS = sa.Text()
TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
COUNTER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
