"""What every answer tells browsers: guess no type, keep nothing, embed nothing."""

_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_PAIRS = list(_HEADERS.items())
LINES = "".join(f"{name}: {value}\r\n" for name, value in _PAIRS)  # as they go over the wire


def security_headers(given: set[str]) -> list[tuple[str, str]]:
    """Those headers for an answer that sets the `given` ones itself."""
    return _PAIRS if given.isdisjoint(_HEADERS) else [pair for pair in _PAIRS if pair[0] not in given]
