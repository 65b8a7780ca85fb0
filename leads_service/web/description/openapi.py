"""The API's description, built at start from the schemas that judge requests."""

import re

from flask import Flask, json

from leads_service.config import VERSION as SERVICE_VERSION
from leads_service.contract.fields import Activities, Notes, Stage, Status, Tags, Uuid, WholeNumber
from leads_service.contract.lead import LEAD_COLUMNS, LeadBody
from leads_service.contract.problems import PROBLEMS
from leads_service.contract.sentences import in_language
from leads_service.contract.vocabulary import STAGES, STATUSES
from leads_service.web.authorization import NOBODY_IS_ASKED
from leads_service.web.description.route import PUBLIC, promise_of
from leads_service.web.description.shapes import (
    ACTIVITY_ANSWER,
    LEAD,
    LEAD_ANSWER,
    MERGE_ANSWER,
    NUMBER,
    TEXT,
    TIME,
    UUID,
    VERSION,
    list_of,
    object_of,
    parameters,
)
from leads_service.web.requests.conditions import IF_MATCH, IF_NONE_MATCH
from leads_service.web.requests.idempotency import IDEMPOTENCY_KEY


def described_rules(app: Flask) -> list:
    """The routes of `app` that promise something; those with defaults only say that a value is missing."""
    return [rule for rule in app.url_map.iter_rules()
            if not rule.defaults and promise_of(app.view_functions[rule.endpoint])]


def documented_path(rule) -> str:
    """The path of a route as OpenAPI writes it."""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)


def document(app: Flask) -> str:
    """The OpenAPI 3.1 document of every route of `app` whose view makes a promise, as JSON text."""
    settings = app.extensions["leads_settings"]
    schemas, paths = {"Lead": _LEAD, "Failure": _FAILURE}, {}
    for rule in described_rules(app):
        view = app.view_functions[rule.endpoint]
        for method in sorted(rule.methods - {"HEAD", "OPTIONS"}):
            operation = _operation(rule, method, view, schemas)
            role = view.promise.role
            if settings.auth and role is PUBLIC:
                operation["security"] = []
            elif settings.auth:
                _add_failures(operation, "unauthorized", "forbidden")
                operation["responses"]["403"]["description"] += f"The least role: {role.name.lower()}."
            elif not settings.allow_open:
                _add_failures(operation, "forbidden")
                operation["responses"]["403"]["description"] += in_language(NOBODY_IS_ASKED, "en")
            paths.setdefault(documented_path(rule), {})[method.lower()] = operation
    schemes = _SECURITY if settings.auth else {}
    return json.dumps({
        "openapi": VERSION, "info": _INFO, "servers": [{"url": "."}], "security": [{name: []} for name in schemes],
        "paths": paths, "components": {"schemas": schemas, "securitySchemes": schemes}})


def _operation(rule, method, view, schemas):
    promised = view.promise
    asked = {each["name"]: each for each in parameters(promised.query)} if promised.query else {}
    operation = {
        "operationId": f"{view.__name__}_patch" if method == "PATCH" else view.__name__,
        "summary": view.__doc__,
        "tags": [rule.endpoint.partition(".")[0]],
        "parameters": [_path_parameter(name, asked) for name in sorted(rule.arguments)],
        "responses": {str(status): {"description": "Success.", "content": _content(content, schemas)}
                      for status, content in promised.answers.items()},
    }
    # What the path says, the query string cannot say too.
    operation["parameters"] += [each for name, each in asked.items() if name not in rule.arguments]
    operation["parameters"] += [{"in": "header", "name": name, **_TAKEN[name]} for name in promised.takes]
    if promised.body:
        operation["requestBody"] = {"required": promised.body_required, "content": _content(promised.body, schemas)}
    _add_failures(operation, *_failures(rule, method, promised))
    for status, content in promised.answers.items():
        names = (["Location"] * (status == 201 and content is LEAD_ANSWER)
                 + ["ETag"] * (content in (LEAD_ANSWER, ACTIVITY_ANSWER, MERGE_ANSWER)))
        _add_headers(operation["responses"][str(status)], *names)
    if IDEMPOTENCY_KEY in promised.takes:
        for status in promised.answers:
            operation["responses"][str(status)]["headers"]["Idempotent-Replayed"] = _REPLAYED
        operation["responses"]["409"]["headers"] = {"Retry-After": {"schema": TEXT, "description": "With in_progress."}}
    if IF_NONE_MATCH in promised.takes:
        operation["responses"]["304"] = {"description": "The lead still has one of these ETags."}
        _add_headers(operation["responses"]["304"], "ETag")
    return operation


def _path_parameter(name, asked):
    """An argument of the path: an id, what the query string calls by the same name, or a text."""
    schema = UUID if name.endswith("_id") else asked.get(name, {}).get("schema", TEXT)
    return {"in": "path", "name": name, "required": True, "schema": schema}


def _failures(rule, method, promised):
    """The codes of what can go wrong: the route's own, and those of every route of its kind."""
    if promised.body:
        yield from ("bad_json", "too_large", "unsupported_media_type")
    if promised.body or promised.query:
        yield from ("bad_request", "validation_failed")
    if "lead_id" in rule.arguments:
        yield "not_found"
    yield from promised.fails
    if IF_MATCH in promised.takes:
        yield from ("bad_request", "stale")
    if IDEMPOTENCY_KEY in promised.takes:
        yield from ("bad_request", "in_progress", "key_reused")
    if promised.role is not PUBLIC:
        yield from ("timeout", "unavailable")
        if method != "GET":
            yield "busy"
    yield from ("method_not_allowed", "internal")


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
        sentence = in_language(PROBLEMS[code].sentence, "en").format(fields="…", field="…", reference="…",
                                                                     merged_into="…", reasons="…")
        if f"`{code}`" in failure["description"]:
            continue  # for another reason
        failure["description"] += f"`{code}`: {sentence} "
        example = {"success": False, "data": None, "error": sentence, "code": code, "detail": sentence}
        failure["content"]["application/json"].setdefault("examples", {})[code] = {"value": example}
        if code in _HEADERS:
            _add_headers(failure, _HEADERS[code])


def _add_headers(response, *names):
    response.setdefault("headers", {}).update({name: {"schema": TEXT, "required": True} for name in names})


def _failure():
    return {"description": "", "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Failure"}}}}


# What a lead's field of each kind is in an answer; every other kind is a text.
_ANSWERED = {
    Uuid: UUID, WholeNumber: NUMBER, Notes: {"type": "object"}, Tags: list_of(TEXT),
    Activities: list_of({"type": "object"}),
    Stage: {**TEXT, "description": f"One of {', '.join(STAGES)}."},
    Status: {**TEXT, "description": f"One of {', '.join(STATUSES)}."},
}
_NEVER_NULL = (WholeNumber, Notes, Tags, Activities)


def _column_schema(name):
    field = LeadBody().fields.get(name)
    if not field:
        return TIME  # created_at and updated_at, which nobody sends
    schema = _ANSWERED.get(type(field), TEXT)
    if field.required or name == "id" or isinstance(field, _NEVER_NULL):
        return schema
    return {**schema, "type": [schema["type"], "null"]}


_INFO = {
    "title": "Leads", "version": SERVICE_VERSION, "license": {"name": "MIT", "identifier": "MIT"},
    "description": "Les prospects (leads) de l'ERP. Field names are also accepted in camelCase; error sentences are "
                   "French, or English when Accept-Language prefers it. Every answer has an X-Request-ID: the "
                   "request's own when it matches [A-Za-z0-9_.-]{1,64}, otherwise a new one.",
}
# What a failure tells in a header.
_HEADERS = {"unauthorized": "WWW-Authenticate", "method_not_allowed": "Allow", "unavailable": "Retry-After",
            "busy": "Retry-After", "stale": "ETag"}
_REPLAYED = {"schema": {"const": "true"}, "description": "The request had been answered before: this is that answer."}
# What the request's headers are that a route may take.
_TAGS = r'^[ \t]*(\*|(W/)?"[!#-~]*"([ \t]*,[ \t]*(W/)?"[!#-~]*")*)[ \t]*$'
_TAKEN = {
    IF_MATCH: {"schema": {**TEXT, "pattern": _TAGS},
               "description": "Write only if the lead still has one of these ETags."},
    IF_NONE_MATCH: {"schema": TEXT, "description": "Answer 304 if the lead still has one of these ETags."},
    IDEMPOTENCY_KEY: {"schema": {**TEXT, "pattern": r'^("[!#-~]{1,255}"|[!#-~]{1,255})$'},
                      "description": "Do this once, however often it is sent; answer as at first, for 24 hours."},
}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "An API key or a JSON Web Token."},
    "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_LEAD = object_of(**{name: _column_schema(name) for name in LEAD_COLUMNS})
_FAILURE = object_of(
    ("existing_id", "line", "field", "run", "current", "results", "merged_into", "obstacles"),
    success={"const": False}, data={"type": "null"},
    error=TEXT,
    code={"type": "string", "enum": [*PROBLEMS]},
    detail={"description": "The sentence again; on 422 an object, field to list of messages.",
            "type": ["string", "object"], "additionalProperties": list_of(TEXT)},
    existing_id={"type": ["string", "null"], "format": "uuid",
                 "description": "With email_taken, or id_taken by a merge: the lead that has it."},
    line={**NUMBER, "description": "When an import ends at a conflict: the row's line."},
    field={**TEXT, "description": "With foreign_key: the field whose row is unknown."},
    run={**UUID, "description": "Of an import that was stopped: what `flask leads undo-import` takes."},
    current={**LEAD, "description": "With stale: the lead as it is."},
    results={**list_of({"type": "object"}), "description": "With bulk_failed: the outcome of each item."},
    merged_into={**UUID, "description": "With merged: the lead that it was merged into."},
    obstacles={**list_of(object_of(("existing_id",), reason=TEXT, lead_id=UUID, existing_id=UUID)),
               "description": "With undo_blocked: what stands in the way."})
