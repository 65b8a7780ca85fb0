"""The conditions of a request (RFC 9110, 13): If-Match on what writes a lead, If-None-Match on what reads one.

Werkzeug's own parser takes unquoted words, and passes over what it cannot read, which for If-Match is a lost update.
"""

import re

from flask import Response, request

from leads_service.contract.problems import Problem
from leads_service.contract.sentences import Sentence

IF_MATCH, IF_NONE_MATCH = "If-Match", "If-None-Match"
MALFORMED = Sentence("L'en-tête {header} est mal formé.", "The header {header} is malformed.")
# An element of the list, which may be empty, and the comma behind it.
_ELEMENT = re.compile(r'[ \t]*(?:(?:W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*)?(?:,|\Z)')


def versions_of(condition: str) -> list[str] | None:
    """The versions that a list of entity tags names, None for `*`: any. Weak tags name the same ones as strong ones,
    since nginx weakens them when it compresses. Raises ValueError."""
    if condition.strip(" \t") == "*":
        return None
    versions, at = [], 0
    while at < len(condition):
        element = _ELEMENT.match(condition, at)
        if not element:
            raise ValueError(condition)
        if element[1] is not None:
            versions.append(element[1])
        at = element.end()
    if not versions:
        raise ValueError(condition)
    return versions


def wanted_versions() -> list[str] | None:
    """The versions of which the request wants the lead to have one, None: any. Raises Problem("bad_request")."""
    if IF_MATCH not in request.headers:
        return None
    return versions_wanted(request.headers[IF_MATCH])


def versions_wanted(condition: str) -> list[str] | None:
    """The versions that an If-Match names, None: any. Raises Problem("bad_request")."""
    try:
        versions = versions_of(condition)
    except ValueError:
        raise malformed(IF_MATCH) from None
    # Versions are ASCII; others PostgreSQL could not always read.
    return versions and [version for version in versions if version.isascii()]


def malformed(header: str) -> Problem:
    """The 400 that names this header."""
    return Problem("bad_request", MALFORMED.format(header=header))


def unless_known(answer: Response) -> Response:
    """The answer, or 304 without a body where the request's If-None-Match names its ETag. One that is malformed names
    nothing: the full answer is never wrong."""
    condition = request.environ.get("HTTP_IF_NONE_MATCH")  # request.headers takes longer to say no
    if condition is None:
        return answer
    try:
        known = versions_of(condition)
    except ValueError:
        return answer
    etag = answer.headers["ETag"]
    if known is not None and etag.strip('"') not in known:
        return answer
    bare = Response(status=304, headers={"ETag": etag})
    del bare.headers["Content-Type"]
    return bare
