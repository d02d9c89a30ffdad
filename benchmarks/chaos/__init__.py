"""Runs of a whole service while everything it consists of is killed, again and again."""
