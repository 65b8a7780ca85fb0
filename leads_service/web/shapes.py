"""What requests and answers look like, as JSON Schema: the words that promises are made of."""

from apispec.ext.marshmallow import OpenAPIConverter
from marshmallow import Schema

VERSION = "3.1.0"  # of OpenAPI
_converter = OpenAPIConverter(VERSION, schema_name_resolver=lambda _: None, spec=None)

TEXT = {"type": "string"}
NUMBER = {"type": "integer"}
UUID = {"type": "string", "format": "uuid"}
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
    """The content of a request whose JSON `body` judges."""
    schema = _converter.schema2jsonschema(body)
    fields = schema["properties"]
    fields |= {alias: fields.get(name, {"description": "Ignored."}) for alias, name in body.aliases.items()}
    fields |= {name: {"description": "Ignored."} for name in body.ignored}
    return as_json(name, {**schema, "examples": [example]})


def parameters(query: type[Schema]) -> list[dict]:
    """The parameters that `query` takes, as OpenAPI describes them."""
    return _converter.schema2parameters(query(), location="query")


LEAD_ANSWER = as_json("LeadAnswer", success_of(LEAD))
LEAD_PAGE = as_json("LeadPage", success_of(
    list_of(LEAD), ("total",), count=NUMBER, next_cursor={"type": ["string", "null"]}, total=NUMBER))
