"""Images on disk: found, scanned, opened, and brought to the trainer in a fixed order."""
