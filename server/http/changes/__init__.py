"""What every route that makes or deletes something has: once for a key, and a line in the audit."""
