"""How answers travel: conditions, ranges, formats, compression, and HEAD beside GET (RFC 9110)."""
