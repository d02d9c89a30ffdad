"""DetCo: contrastive pretraining for detection, its evaluations, exports and inference."""

__version__ = "0.1.0"
