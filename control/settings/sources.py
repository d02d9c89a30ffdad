"""Where a setting is taken from, and how lists are written in one."""

import json
import os
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo
from pydantic_settings import PydanticBaseSettingsSource

from control.errors import SettingsError

PREFIX = "DETCO_"
"""Of every variable of the environment that is ours."""


class NamedFiles(PydanticBaseSettingsSource):
    """Takes `DETCO_NAME` from the file that `DETCO_NAME_FILE` names."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        variable = f"{PREFIX}{field_name.upper()}_FILE"
        path = os.environ.get(variable)
        if path is None:
            return None, field_name, False
        try:
            return Path(path).read_text("utf-8").strip(), field_name, False
        except OSError as error:
            raise SettingsError(f"{variable} names a file that cannot be read: {error}") from error

    def __call__(self) -> dict[str, Any]:
        found = {name: self.get_field_value(field, name)[0] for name, field in self.settings_cls.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def split(value: Any, separator: str) -> Any:
    """The items of a list: a JSON one, or texts between separators; what is no text is left as it is."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return tuple(part for part in value.split(separator) if part)
