"""Scores of a frozen or fine-tuned backbone: the seam a task fits, the tasks, and the job that runs one."""
