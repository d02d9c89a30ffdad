"""onnxruntime: how a model is opened, on what it runs, and whose memory its inputs and outputs are."""
