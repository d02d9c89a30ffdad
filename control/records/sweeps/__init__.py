"""Sweeps: many runs submitted as one."""
