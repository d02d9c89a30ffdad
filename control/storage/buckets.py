"""A look at what lies below a prefix of S3; credentials and endpoint are found as boto3 finds them."""

from control.errors import InvalidRequest, StoreError

_LOOK_AT = 1000


def first_names(place: str) -> list[str]:
    """Names of the first thousand objects below `s3://BUCKET/PREFIX`, relative to it.

    Raises:
        InvalidRequest: there is no such bucket, or it may not be looked at.
        StoreError: S3 cannot be reached.
    """
    import boto3  # half a second: only those who use it wait
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    prefix = f"{prefix}/" if prefix else ""
    patience = Config(connect_timeout=3, read_timeout=10, retries={"max_attempts": 1, "mode": "standard"})
    try:
        client = boto3.client("s3", config=patience)
        found = client.list_objects_v2(Bucket=bucket, Prefix=prefix, MaxKeys=_LOOK_AT)
    except ClientError as error:
        raise InvalidRequest("uri", f"{place} cannot be listed: {error}") from error
    except BotoCoreError as error:
        raise StoreError(f"{place} cannot be reached: {error}") from error
    return [item["Key"][len(prefix) :] for item in found.get("Contents", ())]
