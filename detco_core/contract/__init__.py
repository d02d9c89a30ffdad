"""What a training job means: its config, what it says while it runs, what it leaves behind.

Standard library only, so that the service, the worker and the client can read it without torch.
"""
