"""Runs jobs: claims them, starts each in a process of its own, and reports what it says. Never imports torch."""
