"""The API's description, built at start from the schemas that judge requests."""

import re

from flask import Flask, json
from peewee import CharField, ForeignKeyField, IntegerField, TextField, UUIDField
from playhouse.postgres_ext import ArrayField, BinaryJSONField, DateTimeTZField

from leads_service.config import VERSION as SERVICE_VERSION
from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.problems import PROBLEMS
from leads_service.contract.sentences import in_language
from leads_service.database.tables import Lead
from leads_service.web.route import PUBLIC, promise_of
from leads_service.web.shapes import NUMBER, TEXT, VERSION, list_of, object_of, parameters


def described_rules(app: Flask) -> list:
    """The routes of `app` that promise something; those with defaults only say that a value is missing."""
    return [rule for rule in app.url_map.iter_rules()
            if not rule.defaults and promise_of(app.view_functions[rule.endpoint])]


def documented_path(rule) -> str:
    """The path of a route as OpenAPI writes it, and the list with the slash that its users write."""
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
    return "/leads/" if path == "/leads" else path


def document(app: Flask) -> str:
    """The OpenAPI 3.1 document of every route of `app` whose view makes a promise, as JSON text."""
    asked = bool(app.extensions["leads_settings"].auth)
    schemas, paths = {"Lead": _LEAD, "Failure": _FAILURE}, {}
    for rule in described_rules(app):
        view = app.view_functions[rule.endpoint]
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            operation = _operation(rule, method, view, schemas)
            if asked and view.promise.role is PUBLIC:
                operation["security"] = []
            elif asked:
                _add_failures(operation, "unauthorized", "forbidden")
                operation["responses"]["403"]["description"] += f"The least role: {view.promise.role.name.lower()}."
            paths.setdefault(documented_path(rule), {})[method.lower()] = operation
    made = {"openapi": VERSION, "info": _INFO, "servers": [{"url": "."}], "paths": paths,
            "components": {"schemas": schemas}}
    if asked:
        made["components"]["securitySchemes"] = _SECURITY
        made["security"] = [{name: []} for name in _SECURITY]
    return json.dumps(made)


def _operation(rule, method, view, schemas):
    promised = view.promise
    operation = {
        "operationId": f"{view.__name__}_patch" if method == "PATCH" else view.__name__,
        "summary": view.__doc__,
        "tags": [rule.endpoint.partition(".")[0]],
        "parameters": [{"in": "path", "name": name, "required": True, "schema": TEXT}
                       for name in sorted(rule.arguments)],
        "responses": {str(status): {"description": "Success.", "content": _content(content, schemas)}
                      for status, content in promised.answers.items()},
    }
    if promised.query:
        # What the path says, the query string cannot say too.
        operation["parameters"] += [each for each in parameters(promised.query) if each["name"] not in rule.arguments]
    if promised.body:
        operation["requestBody"] = {"required": promised.body_required, "content": _content(promised.body, schemas)}
    if "201" in operation["responses"]:
        operation["responses"]["201"]["headers"] = {"Location": {"schema": TEXT}}
    _add_failures(operation, *_failures(rule, method, promised))
    return operation


def _failures(rule, method, promised):
    """The codes of what can go wrong: the route's own, and those of every route of its kind."""
    if promised.body:
        yield from ("bad_json", "too_large", "unsupported_media_type")
    if promised.body or promised.query:
        yield "validation_failed"
    if "lead_id" in rule.arguments:
        yield "not_found"
    yield from promised.fails
    if promised.role is not PUBLIC:
        yield from ("timeout", "unavailable")
        if method != "GET":
            yield "busy"
    yield "internal"


def _content(content, schemas):
    """Each media type with its schema; one that has a title becomes a component of that name."""
    named = {}
    for media_type, schema in content.items():
        if "title" in schema:
            name = schema["title"]
            schemas[name] = {key: value for key, value in schema.items() if key != "title"}
            schema = {"$ref": f"#/components/schemas/{name}"}
        named[media_type] = {"schema": schema}
    return named


def _add_failures(operation, *codes):
    for code in codes:
        failure = operation["responses"].setdefault(str(PROBLEMS[code].status), _failure())
        sentence = in_language(PROBLEMS[code].sentence, "en").format(fields="…", field="…", reference="…")
        failure["description"] += f"`{code}`: {sentence} "
        example = {"success": False, "data": None, "error": sentence, "code": code, "detail": sentence}
        failure["content"]["application/json"].setdefault("examples", {})[code] = {"value": example}


def _failure():
    return {"description": "", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}}}


def _column_schema(name):
    field = Lead._meta.columns[name]
    if name == "activities":
        return {"type": "array", "items": {"type": "object"}}
    kind, extra = _JSON_TYPES[type(field.rel_field if isinstance(field, ForeignKeyField) else field)]
    return {"type": [kind, "null"] if field.null else kind, **extra}


_JSON_TYPES = {
    UUIDField: ("string", {"format": "uuid"}), CharField: ("string", {}), TextField: ("string", {}),
    IntegerField: ("integer", {}), DateTimeTZField: ("string", {"format": "date-time"}),
    BinaryJSONField: ("object", {}), ArrayField: ("array", {"items": {"type": "string"}}),
}
_INFO = {
    "title": "Leads", "version": SERVICE_VERSION, "license": {"name": "MIT", "identifier": "MIT"},
    "description": "Les prospects (leads) de l'ERP. Field names are also accepted in camelCase; error sentences are "
                   "French, or English when Accept-Language prefers it. Every answer has an X-Request-ID: the "
                   "request's own when it matches [A-Za-z0-9_.-]{1,64}, otherwise a new one.",
}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a JSON Web Token."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_LEAD = object_of(**{name: _column_schema(name) for name in LEAD_COLUMNS})
_FAILURE = object_of(
    ("existing_id", "line", "field"), success={"const": False}, data={"type": "null"}, error=TEXT,
    code={"type": "string", "enum": [*PROBLEMS]},
    detail={"description": "The sentence again; on 422 an object, field to list of messages.",
            "type": ["string", "object"], "additionalProperties": list_of(TEXT)},
    existing_id={"type": ["string", "null"], "format": "uuid",
                 "description": "With email_taken: the lead that has it."},
    line={**NUMBER, "description": "When an import ends at a conflict: the row's line."},
    field={**TEXT, "description": "With foreign_key: the field whose row is unknown."})
