"""Bodies that bring files: images whose features are wanted, and uploads on their way to the store."""
