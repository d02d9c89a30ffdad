"""The contrastive methods: momentum pair, queues, losses, and DetCo itself. The page to read first is `detco.py`."""
