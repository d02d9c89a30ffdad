"""Opens the store that the settings name."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

from control.errors import SettingsError
from control.settings import Settings
from control.storage.base import Store
from control.storage.local import LocalStore


def open_store(settings: Settings) -> Store:
    """A `file:///folder` or `s3://bucket/prefix` store; raises `SettingsError` for any other address."""
    url = settings.resolved_store_url
    parts = urlsplit(url)
    if parts.scheme == "file":
        return LocalStore(Path(unquote(parts.path)))
    if parts.scheme == "s3":
        from control.storage.s3 import open_s3  # boto3 takes half a second to import: only those who use it wait.

        return open_s3(url)
    raise SettingsError(f"DETCO_STORE_URL: {url} is neither file:///FOLDER nor s3://BUCKET/PREFIX")
