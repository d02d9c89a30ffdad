"""The control plane: what the service means by a run, a claim, a model; no FastAPI, no torch."""
