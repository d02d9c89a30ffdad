"""Models, versions and aliases, foreign weights, where a backbone comes from, and what feature servers follow."""
