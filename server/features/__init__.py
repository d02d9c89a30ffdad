"""Feature serving without a word of HTTP: the models at hand, the engine that runs them, the layout of answers."""
