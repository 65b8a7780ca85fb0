"""The version of a lead: a hash of the JSON that PostgreSQL writes of it.

The time of the last change is none: an import keeps the source's, and whoever writes to the table may set it.
"""

import hashlib
from collections.abc import Collection

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.problems import Problem

_JSON = f"(SELECT row_to_json(lead)::text FROM (SELECT {', '.join(LEAD_COLUMNS)}) AS lead)"
_DIGITS = 32  # of the 64 of the SHA-256: enough for rows of one id
# The version of a row of leads, an SQL expression. Of UTF-8 bytes, since a database may hold its texts otherwise.
VERSION = f"left(encode(sha256(convert_to({_JSON}, 'UTF8')), 'hex'), {_DIGITS})"


def version_of(row: str) -> str:
    """The version of the lead with this JSON, as VERSION says it."""
    return hashlib.sha256(row.encode()).hexdigest()[:_DIGITS]


def etag_of(row: str) -> str:
    """The lead's version as a strong entity tag (RFC 9110, 8.8.3)."""
    return f'"{version_of(row)}"'


def demand_version(row: str, versions: Collection[str] | None) -> None:
    """Raise Problem("stale"), with the lead as it is, unless its version is one of these (None: any)."""
    if versions is not None and version_of(row) not in versions:
        raise Problem("stale", headers={"ETag": etag_of(row)}, current=row)
