"""The Open Inference Protocol over gRPC, beside `/v2`: the same service, tokens and limits behind another wire.

Optional: only `server.rpc.open` may be imported where the extra `grpc` is not installed.
"""
