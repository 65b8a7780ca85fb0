"""What views answer: envelopes, rows, sentences in the caller's language."""

import uuid

from flask import Response, json, request

from leads_service.contract.problems import LEAD_NOT_FOUND, Problem
from leads_service.contract.sentences import LANGUAGES, in_language
from leads_service.contract.vocabulary import parse_uuid
from leads_service.database.versions import etag_of
from leads_service.web.authorization import current_caller


def preferred_language(request) -> str:
    """"fr" or "en", as the request's Accept-Language asks; French when it says nothing (RFC 9110, 12.5.4)."""
    if "Accept-Language" not in request.headers:
        return "fr"
    return request.accept_languages.best_match(LANGUAGES, default="fr")


def company_of_caller() -> uuid.UUID | None:
    """The company whose leads the caller sees; None: all leads."""
    return current_caller().company_id


def uuid_of(text: str) -> uuid.UUID:
    """The id in a path; raises Problem("not_found") when it is none."""
    lead_id = parse_uuid(text)
    if lead_id is None:
        raise Problem("not_found", LEAD_NOT_FOUND)
    return lead_id


def lead_answer(row: str | None, status: int = 200, headers: dict | None = None) -> Response:
    """A lead's JSON as an answer, with its ETag; raises Problem("not_found") for None."""
    if row is None:
        raise Problem("not_found", LEAD_NOT_FOUND)
    return answered(f'{{"success":true,"data":{row}}}', status, {"ETag": etag_of(row)} | (headers or {}))


def success(data: object) -> Response:
    """200 with `data`."""
    return answered(json.dumps({"success": True, "data": data}))


def answered(text: str, status: int = 200, headers: dict | None = None) -> Response:
    """An answer of JSON text."""
    return Response(text, status, headers, mimetype="application/json")


def said(sentence: str) -> str:
    """The sentence in the language that the caller prefers."""
    return in_language(sentence, preferred_language(request))
