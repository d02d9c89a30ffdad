"""Why a request for features is not answered with features.

::

    FeatureError
    ├── UnknownModel        no model, alias or version of that name
    ├── NoDefaultModel      none was named, and there is no obvious one
    ├── ModelUnavailable    it exists, and cannot be loaded (yet)
    ├── UnknownLevel        the model has no such level
    ├── OtherWeights        `expect_digest` names other weights than those that would answer
    ├── Overloaded          too much is under way; come back in `retry_after` seconds
    │   ├── OverLimit       of this token; `limit` names the bound
    │   └── Shed            a bulk request was let in, and has given its place to interactive ones
    ├── DeadlineExceeded    `timeout_ms` passed before there was an answer
    ├── ReplyTooLarge       the answer would be larger than this format, or this server, gives
    ├── BadTensor           a request of the Open Inference Protocol does not fit itself, or the model
    ├── ComputeFailed       onnxruntime failed on one image
    └── NoneReadable        every image of the request is broken; `errors` holds one error an image

An `ImageError` of the core spoils its own image only.
"""


class FeatureError(Exception):
    """Base of every error raised on purpose by the feature path."""


class UnknownModel(FeatureError):
    """No model, alias or version of that name."""


class NoDefaultModel(FeatureError):
    """No model was named, and there is no obvious one."""

    def __init__(self, names: list[str]) -> None:
        self.names = names
        listed = f"name one of {', '.join(names)}" if names else "none is served: promote a version first"
        super().__init__(f"the request names no model, and there is no default; {listed}")


class ModelUnavailable(FeatureError):
    """The model exists, and cannot be loaded (yet)."""


class UnknownLevel(FeatureError):
    """The model has no such level."""


class OtherWeights(FeatureError):
    """Other weights than expected would answer."""


class Overloaded(FeatureError):
    """Too much is under way; `retry_after` is in seconds."""

    def __init__(self, message: str, retry_after: int) -> None:
        self.retry_after = retry_after
        super().__init__(f"{message}; try again in {retry_after} s")


class OverLimit(Overloaded):
    """The token has taken what it may; `limit` is the quota's name: `images` or `pixels_per_second`."""

    def __init__(self, message: str, retry_after: int, limit: str) -> None:
        self.limit = limit
        super().__init__(message, retry_after)


class Shed(Overloaded):
    """A bulk request that waited was given up for interactive ones."""


class DeadlineExceeded(FeatureError):
    """The deadline passed before there was an answer."""


class ReplyTooLarge(FeatureError):
    """The answer would be too large; `format_only` when another format could hold it."""

    def __init__(self, message: str, *, format_only: bool) -> None:
        self.format_only = format_only
        super().__init__(message)


class BadTensor(FeatureError):
    """A request of the Open Inference Protocol does not fit itself, or the model."""


class ComputeFailed(FeatureError):
    """onnxruntime failed on one image."""


class NoneReadable(FeatureError):
    """Every image of the request is broken."""

    def __init__(self, errors: list[Exception]) -> None:
        self.errors = errors
        super().__init__("none of the images could be turned into features: " + "; ".join(map(str, errors[:3])))
