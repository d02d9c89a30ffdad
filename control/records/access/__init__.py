"""Tokens and whom they stand for, what each may have at once, who did what, and requests that come again."""
