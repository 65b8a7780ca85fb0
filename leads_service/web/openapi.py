"""The API's description, built at start from the schemas that judge requests."""

import re

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask, json
from peewee import CharField, ForeignKeyField, IntegerField, TextField, UUIDField
from playhouse.postgres_ext import ArrayField, BinaryJSONField, DateTimeTZField

from leads_service.config import VERSION
from leads_service.contract.lead import LEAD_COLUMNS, ConvertBody, LeadBody
from leads_service.contract.lists import ListQuery
from leads_service.contract.problems import PROBLEMS
from leads_service.contract.sentences import in_language
from leads_service.database.tables import Lead
from leads_service.transfer.formats import EXPORT_TYPES, IMPORT_TYPES, ExportQuery, ImportQuery
from leads_service.web.authorization import LEAST_ROLE, PUBLIC
from leads_service.web.routes.files import MAX_REJECTS

_PAGE_CODES = ("validation_failed", "timeout", "unavailable")
_BODY_CODES = ("bad_json", "too_large", "unsupported_media_type", "validation_failed", "email_taken", "foreign_key",
               "busy", "timeout", "unavailable")
# endpoint: (status of success, schema of success, codes of failure, schema of the request's body)
_OPERATIONS = {
    "leads.list_leads": (200, "LeadPage", _PAGE_CODES, None),
    "leads.search_leads": (200, "LeadPage", _PAGE_CODES, None),
    "leads.leads_by_status": (200, "LeadPage", _PAGE_CODES, None),
    "leads.leads_by_owner": (200, "LeadPage", _PAGE_CODES, None),
    "leads.leads_by_source": (200, "LeadPage", _PAGE_CODES, None),
    "leads.create_lead": (201, "LeadAnswer", (*_BODY_CODES, "id_taken"), "LeadCreate"),
    "leads.get_lead": (200, "LeadAnswer", ("not_found", "timeout", "unavailable"), None),
    "leads.update_lead": (200, "LeadAnswer", (*_BODY_CODES, "not_found"), "LeadUpdate"),
    "leads.delete_lead": (200, "Deleted", ("not_found", "busy", "timeout", "unavailable"), None),
    "leads.convert": (200, "Converted", (*_BODY_CODES[:4], "foreign_key", "not_found", *_BODY_CODES[6:]), "Convert"),
    "files.export": (200, "Export", _PAGE_CODES, None),
    "files.import_": (200, "Imported", ("bad_json", "too_large", "unsupported_media_type", "validation_failed",
                                       "email_taken", "id_taken", "busy", "timeout", "unavailable"), "Import"),
    "health.index": (200, "Index", (), None),
    "health.alive": (200, "Health", (), None),
    "health.ready": (200, "Health", ("unavailable",), None),
    "health.metrics": (200, None, (), None),
    "docs.description": (200, None, (), None),
    "docs.page": (200, None, (), None),
    "docs.page_file": (200, None, ("not_found",), None),
}


def described_rules(app: Flask) -> list:
    """The routes of `app` that the description shows; those with defaults only say that a value is missing."""
    return [rule for rule in app.url_map.iter_rules() if not rule.defaults]


def documented_path(rule) -> str:
    """The path of a route as OpenAPI writes it, and the list with the slash that its users write."""
    path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
    return "/leads/" if path == "/leads" else path


def document(app: Flask) -> str:
    """The OpenAPI 3.1 document of every route of `app`, as JSON text."""
    marshmallow = MarshmallowPlugin(schema_name_resolver=lambda _: None)
    spec = APISpec("Leads", VERSION, "3.1.0", plugins=[marshmallow], info={
        "description": "Les prospects (leads) de l'ERP. Field names are also accepted in camelCase; error sentences "
                       "are French, or English when Accept-Language prefers it. Every answer has an X-Request-ID: the "
                       "request's own when it matches [A-Za-z0-9_.-]{1,64}, otherwise a new one.",
        "license": {"name": "MIT", "identifier": "MIT"}}, servers=[{"url": "."}])
    asked = bool(app.extensions["leads_settings"].auth)
    if asked:
        for name, scheme in _SECURITY.items():
            spec.components.security_scheme(name, scheme)
        spec.options["security"] = [{name: []} for name in _SECURITY]
    convert = marshmallow.converter
    for name, (body, example) in _BODIES.items():
        spec.components.schema(name, _body_schema(convert, body) | {"examples": [example]})
    for name, schema in _ANSWERS.items():
        spec.components.schema(name, schema)
    parameters = {query: convert.schema2parameters(query(), location="query")
                  for query in (ListQuery, ExportQuery, ImportQuery)}
    for rule in described_rules(app):
        path = documented_path(rule)
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            operation = _operation(app, rule, method, parameters)
            least = LEAST_ROLE[method, rule.endpoint]
            if asked and least is PUBLIC:
                operation["security"] = []
            elif asked:
                _add_failures(operation, "unauthorized", "forbidden")
                operation["responses"]["403"]["description"] += f"The least role: {least.name.lower()}."
            spec.path(path, operations={method.lower(): operation})
    return json.dumps(spec.to_dict())


def _operation(app, rule, method, parameters):
    status, success, codes, body = _OPERATIONS[rule.endpoint]
    view = app.view_functions[rule.endpoint]
    operation = {
        "operationId": f"{view.__name__}_patch" if method == "PATCH" else view.__name__,
        "summary": view.__doc__,
        "tags": [rule.endpoint.partition(".")[0]],
        "parameters": [{"in": "path", "name": name, "required": True, "schema": {"type": "string"}}
                       for name in sorted(rule.arguments)],
        "responses": {str(status): _response("Success.", success)},
    }
    if success == "LeadPage":
        # What the path says, the query string cannot say too.
        operation["parameters"] += [each for each in parameters[ListQuery] if each["name"] not in rule.arguments]
    if success == "Export":
        operation["parameters"] += parameters[ExportQuery]
        operation["responses"]["200"]["content"] = {kind: {"schema": _TEXT} for kind in EXPORT_TYPES.values()}
    if body == "Import":
        operation["parameters"] += parameters[ImportQuery]
        content = {kind: {"schema": _TEXT} for kind in IMPORT_TYPES}
        operation["requestBody"] = {"required": True, "content": content}
    elif body:
        operation["requestBody"] = {"required": body != "Convert", "content": _content(body)}
    if status == 201:
        operation["responses"]["201"]["headers"] = {"Location": {"schema": {"type": "string"}}}
    _add_failures(operation, *codes, "internal")
    return operation


def _add_failures(operation, *codes):
    for code in codes:
        failure = operation["responses"].setdefault(str(PROBLEMS[code].status), _response("", "Failure"))
        sentence = in_language(PROBLEMS[code].sentence, "en").format(fields="…", field="…", reference="…")
        failure["description"] += f"`{code}`: {sentence} "
        example = {"success": False, "data": None, "error": sentence, "code": code, "detail": sentence}
        failure["content"]["application/json"].setdefault("examples", {})[code] = {"value": example}


def _response(text, schema):
    return {"description": text, "content": _content(schema)} if schema else {"description": text}


def _content(schema):
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _body_schema(convert, body):
    schema = convert.schema2jsonschema(body)
    fields = schema["properties"]
    fields |= {alias: fields.get(name, {"description": "Ignored."}) for alias, name in body.aliases.items()}
    fields |= {name: {"description": "Ignored."} for name in body.ignored}
    return schema


def _object(required=(), **fields):
    return {"type": "object", "properties": fields, "required": list(required or fields)}


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
_TRUE, _TEXT, _UUID = {"const": True}, {"type": "string"}, {"type": "string", "format": "uuid"}
_LEAD = {"$ref": "#/components/schemas/Lead"}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a JSON Web Token."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_BODIES = {
    "LeadCreate": (LeadBody(), {"name": "Hélène Martin", "email": "helene@example.com", "phone": "06 12 34 56 78",
                                "status": "Nouveau", "source": "web", "tags": ["vip"]}),
    "LeadUpdate": (LeadBody(partial=True), {"status": "Devis envoyé"}),
    "Convert": (ConvertBody(), {}),
}
# Answers that PostgreSQL or a view writes, which no marshmallow schema describes.
_ANSWERS = {
    "Lead": _object(**{name: _column_schema(name) for name in LEAD_COLUMNS}),
    "LeadAnswer": _object(success=_TRUE, data=_LEAD),
    "LeadPage": _object(("success", "data", "count", "next_cursor"), success=_TRUE,
                        data={"type": "array", "items": _LEAD}, count={"type": "integer"},
                        next_cursor={"type": ["string", "null"]}, total={"type": "integer"}),
    "Deleted": _object(success=_TRUE, data=_object(id=_UUID, message=_TEXT)),
    "Converted": _object(success=_TRUE, data=_object(lead_id=_UUID, client_id=_UUID, message=_TEXT)),
    "Imported": _object(success=_TRUE, data=_object(
        **{outcome: {"type": "integer"} for outcome in ("created", "updated", "skipped", "rejected")},
        unknown_columns={"type": "array", "items": _TEXT},
        rejects={"type": "array", "maxItems": MAX_REJECTS, "items": _object(
            line={"type": "integer"}, column=_TEXT, code=_TEXT, message=_TEXT)})),
    "Index": _object(success=_TRUE, data=_object(name=_TEXT, version=_TEXT)),
    "Health": _object(status=_TEXT, version=_TEXT),
    "Failure": _object(
        ("success", "data", "error", "code", "detail"), success={"const": False}, data={"type": "null"}, error=_TEXT,
        code={"type": "string", "enum": [*PROBLEMS]},
        detail={"description": "The sentence again; on 422 an object, field to list of messages.",
                "type": ["string", "object"], "additionalProperties": {"type": "array", "items": _TEXT}},
        existing_id={**_UUID, "type": ["string", "null"], "description": "With email_taken: the lead that has it."},
        line={"type": "integer", "description": "When an import ends at a conflict: the row's line."},
        field={**_TEXT, "description": "With foreign_key: the field whose row is unknown."}),
}
