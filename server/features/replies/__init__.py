"""Answers: what they may hold, and how they are laid out."""
