"""Feature serving beside the bare runtime and its peers: what a request costs, and how the service bears hard days."""
