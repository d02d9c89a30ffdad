"""What becomes of a run: held and reported on by those who work on it, steered by people."""
