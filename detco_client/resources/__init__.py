"""What the service returns, as typed dictionaries: the JSON itself, so `--json` prints what the API said.

The service may add fields at any time; these are the ones the API promises. Times are ISO 8601 in UTC, digests are
`sha256:` and hex digits.
"""
