"""How a job runs on its machine: events, checkpoints, devices, processes, schedules, seeds and stopping."""
