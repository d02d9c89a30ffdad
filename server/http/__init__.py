"""What every route stands on: problems, schemas, limits, who is calling, and what the service offers them."""
