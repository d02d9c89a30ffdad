"""Data sets and their versions, what uses them, and deleting them with what was derived."""
