"""The formats in which leads come and go, and what can be asked of an export and an import."""

from marshmallow import Schema, post_load

from leads_service.contract.fields import OneOf
from leads_service.contract.lists import UNKNOWN_PARAMETER, SelectionQuery

IMPORT_TYPES = ("text/csv", "application/x-ndjson", "application/json")
EXPORT_TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson"}
ON_CONFLICT = ("skip", "update", "fail")


class ExportQuery(SelectionQuery):
    """The parameters of an export; loads to (Selection, format)."""

    format = OneOf(("csv", "ndjson"), load_default="csv")

    @post_load
    def _export(self, given, **kwargs):
        return self._selection(given), given["format"]



class ImportQuery(Schema):
    """The parameters of an import."""

    error_messages = {"unknown": UNKNOWN_PARAMETER}

    on_conflict = OneOf(ON_CONFLICT, load_default="skip")
    dry_run = OneOf(("false", "true"), load_default="false")
