"""Pixels of image files that Pillow alone would change: read once here, for training and serving to see the same."""
