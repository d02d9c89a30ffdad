"""Bytes as the tables know them: objects, uploads, what a `uri` names, who needs what, and what deleting it does."""
