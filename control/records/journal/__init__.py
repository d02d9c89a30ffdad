"""What was written down while a run was worked on: events, values, curves, logs."""
