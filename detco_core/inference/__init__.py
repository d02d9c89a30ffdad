"""Runs an exported backbone: image bytes in, dense feature maps out, with numpy, Pillow and onnxruntime alone.

from detco_core.inference import Backbone

backbone = Backbone(Path("bundle"))
result = backbone.features(Path("photo.jpg"), levels=("res4", "res5"))
result.tensors["res5"].shape  # (1, 2048, h, w)
"""

from detco_core.inference.backbone import Backbone, FeatureResult

__all__ = ["Backbone", "FeatureResult"]
