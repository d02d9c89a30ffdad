"""From a checkpoint to a bundle other programs can use: the files, the proof that they agree, and the manifest."""
