"""The verbs of the `detco` command, one file for each thing they are about."""
