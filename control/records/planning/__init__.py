"""Turns what people ask for into what would be run, with what it will take, before any of it is."""
