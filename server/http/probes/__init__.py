"""What those who watch the service ask: whether it is ready, and what it counts."""
