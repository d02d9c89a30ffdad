"""The training loop: it knows optimizers, files and signals, and no loss formula."""
