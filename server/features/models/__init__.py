"""The models of one server: which are wanted, which are held, how they are fetched, opened and let go."""
