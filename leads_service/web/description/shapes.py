"""What requests and answers look like, as JSON Schema: the words that promises are made of."""

from apispec.ext.marshmallow import OpenAPIConverter
from marshmallow import Schema

VERSION = "3.1.0"  # of OpenAPI
_converter = OpenAPIConverter(VERSION, schema_name_resolver=lambda _: None, spec=None)

TEXT = {"type": "string"}
TEXT_OR_NULL = {"type": ["string", "null"]}
NUMBER = {"type": "integer"}
UUID = {"type": "string", "format": "uuid"}
TIME = {"type": "string", "format": "date-time"}
_NOT_BLANK = r"[^\s\x1c-\x1f\x85]"  # ECMA's \s lacks five characters that Python's strip takes away
LEAD = {"$ref": "#/components/schemas/Lead"}


def object_of(optional: tuple[str, ...] = (), **fields: dict) -> dict:
    """An object with these fields, all of them required but the `optional` ones."""
    return {"type": "object", "properties": fields, "required": [name for name in fields if name not in optional]}


def list_of(items: dict) -> dict:
    """An array of `items`."""
    return {"type": "array", "items": items}


def success_of(data: dict, optional: tuple[str, ...] = (), **beside: dict) -> dict:
    """The contract's envelope around `data`, with what stands beside it."""
    return object_of(optional, success={"const": True}, data=data, **beside)


def as_json(name: str, schema: dict) -> dict[str, dict]:
    """The content of a JSON answer or body that the description calls `name`."""
    return {"application/json": {"title": name, **schema}}


def as_text(*media_types: str) -> dict[str, dict]:
    """The content of an answer or body in any of these types."""
    return dict.fromkeys(media_types, TEXT)


def json_body_of(name: str, body: Schema, example: dict) -> dict[str, dict]:
    """The content of a request whose JSON `body` judges.

    Fields are named in snake_case alone: no schema that tools take says "either spelling, or both with one value".
    """
    schema = _converter.schema2jsonschema(body)
    fields = {field: _blanks_told(described) for field, described in schema["properties"].items()}
    fields |= {ignored: {"description": "Ignored."} for ignored in body.ignored}
    if body.partial and "id" in fields:
        fields["id"] = {**UUID, "readOnly": True, "description": "The one in the path, if any."}
    return as_json(name, {**schema, "properties": fields, "examples": [example]})


def parameters(query: type[Schema]) -> list[dict]:
    """The parameters that `query` takes, as OpenAPI describes them."""
    return [{**parameter, "schema": _blanks_told(parameter["schema"])}
            for parameter in _converter.schema2parameters(query(), location="query")]


def _blanks_told(schema):
    """`schema` with what a field's kind leaves unsaid: a blank text is null where null is allowed, else refused."""
    nullable, kind = "null" in schema["type"], schema["type"]
    if kind == "array":
        return {**schema, "items": _blanks_told(schema["items"])}
    if "enum" in schema:
        return {**schema, "enum": [*schema["enum"], *(["", None] if nullable else [])]}
    if "format" in schema and nullable:
        return {"anyOf": [schema, {"const": ""}]}
    if kind == "string" and "format" not in schema:
        return {**schema, "pattern": _NOT_BLANK}
    return schema


LEAD_ANSWER = as_json("LeadAnswer", success_of(LEAD))
LEAD_PAGE = as_json("LeadPage", success_of(
    list_of(LEAD), ("total",), count=NUMBER, next_cursor={"type": ["string", "null"]}, total=NUMBER))
ACTIVITY_ANSWER = as_json("ActivityAnswer", success_of({"type": "object"}))
MERGE_ANSWER = as_json("MergeAnswer", success_of(object_of(
    merge_id={"type": ["string", "null"], "format": "uuid"}, lead=LEAD, sources={
        "type": "object", "additionalProperties": {"anyOf": [UUID, list_of(UUID)]}})))
