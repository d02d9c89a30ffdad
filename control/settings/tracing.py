"""Where spans go, in the variables that OpenTelemetry has for it."""

import os

from control.errors import SettingsError


def traces_exporter() -> str | None:
    """`otlp` or `console`, as OpenTelemetry's standard environment says; None: no traces. Its packages read the rest.

    Raises:
        SettingsError: it names an exporter or a protocol that the service has not.
    """
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return None
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
    name = os.environ.get("OTEL_TRACES_EXPORTER") or ("otlp" if any(map(os.environ.get, endpoints)) else "none")
    if name not in ("otlp", "console", "none"):
        raise SettingsError(f"OTEL_TRACES_EXPORTER is {name[:80]!r}; the service has otlp, console and none")
    protocols = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = next(filter(None, map(os.environ.get, protocols)), "http/protobuf")
    if name == "otlp" and protocol != "http/protobuf":
        raise SettingsError(f"OTEL_EXPORTER_OTLP_PROTOCOL is {protocol[:80]!r}; traces are sent as http/protobuf")
    return None if name == "none" else name
