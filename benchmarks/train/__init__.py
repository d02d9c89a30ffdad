"""What a training step costs, part by part, against the bare backbone passes it cannot do without."""
