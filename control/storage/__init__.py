"""Where artifacts are kept, by content: a file is named by its sha256."""
