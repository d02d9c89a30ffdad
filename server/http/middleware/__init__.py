"""What surrounds every request: an id, a span, a bound on its body, a line in the log when it ends."""
