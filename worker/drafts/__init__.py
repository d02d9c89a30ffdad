"""Makes jobs of runs: from a spec in the tables to what a job is told, and what must be brought first."""
