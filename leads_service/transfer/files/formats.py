"""The formats in which leads come and go, and what can be asked of an export and an import."""

from marshmallow import Schema, ValidationError, fields, post_load

from leads_service.contract.fields import OneOf, Text
from leads_service.contract.lists import UNKNOWN_PARAMETER, SelectionQuery
from leads_service.contract.sentences import Sentence

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
# What senders call such files; the bytes decide what a file is.
IMPORT_TYPES = ("text/csv", "text/tab-separated-values", "application/vnd.ms-excel", "application/octet-stream", XLSX,
                "application/x-ndjson", "application/json")
EXPORT_TYPES = {"csv": "text/csv", "ndjson": "application/x-ndjson", "xlsx": XLSX}
ON_CONFLICT = ("skip", "update", "fail")
NOT_A_PAIR = Sentence("MOT=MOT est attendu, par exemple Qualifié=contacted.",
                      "WORD=WORD is expected, such as Qualifié=contacted.")


class ExportQuery(SelectionQuery):
    """The parameters of an export; loads to (Selection, format)."""

    format = OneOf(tuple(EXPORT_TYPES), load_default="csv")

    @post_load
    def _export(self, given, **kwargs):
        return self._selection(given), given["format"]

class Words(fields.List):
    """WORD=WORD, repeatable: gives {a word of the file: what it means}."""

    def _deserialize(self, value, attr, data, **kwargs):
        pairs = [pair.partition("=") for pair in super()._deserialize(value, attr, data, **kwargs)]
        if not all(word.strip() and meaning.strip() for word, _, meaning in pairs):
            raise ValidationError(NOT_A_PAIR)
        return {word: meaning for word, _, meaning in pairs}


class ImportQuery(Schema):
    """The parameters of an import."""

    error_messages = {"unknown": UNKNOWN_PARAMETER}

    on_conflict = OneOf(ON_CONFLICT, load_default="skip")
    dry_run = OneOf(("false", "true"), load_default="false")
    map = Words(Text(), load_default=dict)
