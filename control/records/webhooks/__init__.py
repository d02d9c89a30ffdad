"""Who outside is told of events: the webhooks, what is owed to them, and what came of each try."""
