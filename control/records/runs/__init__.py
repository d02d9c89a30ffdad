"""Runs and evaluations: submitted, found, moved, scored, counted and deleted; which of their checkpoints are kept."""
