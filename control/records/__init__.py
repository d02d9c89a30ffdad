"""Every query and every decision about rows: functions that take a `Session` first and never commit."""
