"""The Open Inference Protocol (KServe's and Triton's v2) over the feature engine.

Every model with a `production` alias is served twice: `NAME` takes encoded pictures, `NAME_tensor` pixels.
"""
