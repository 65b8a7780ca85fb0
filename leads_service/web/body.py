"""A request's body: its media type, its size, and the schemas that judge it."""

from flask import current_app, request
from gunicorn.http.errors import ParseException

from leads_service.contract.lead import ConvertBody, EraseBody, LeadBody, MergeBody, RestoreBody
from leads_service.contract.problems import Problem
from leads_service.contract.sentences import Sentence
from leads_service.contract.strict_json import parse_json

_CUT_SHORT = Sentence("Le corps de la requête s'arrête avant la fin annoncée.",
                      "The request's body ends before its announced length.")


def require_media_type(request, *accepted: str) -> None:
    """Raise Problem("unsupported_media_type") when the request has a body of another type, or a compressed one."""
    compressed = (request.content_encoding or "identity").lower() != "identity"
    if compressed or (request.mimetype not in accepted and has_body(request)):
        raise Problem("unsupported_media_type")


def has_body(request) -> bool:
    """Whether the request announces a body."""
    return bool(request.content_length) or "chunked" in request.headers.get("Transfer-Encoding", "").lower()


def read_body(request, limit: int) -> bytes:
    """The request's body, which holds at most `limit` bytes.

    Raises Problem: too_large, bad_json when it is shorter than announced, bad_request when its chunks are malformed.
    """
    # Not through Werkzeug, which cuts an oversized chunked body off in silence.
    stream, length = request.environ["wsgi.input"], request.content_length
    if length is not None and length > limit:
        raise Problem("too_large")
    if length is None and not request.environ.get("wsgi.input_terminated"):
        return b""
    try:
        raw = stream.read(limit + 1 if length is None else length)
    except (OSError, ParseException):  # gunicorn's, about chunks
        raise Problem("bad_request") from None
    if len(raw) > limit:
        raise Problem("too_large")
    if length is not None and len(raw) < length:
        raise Problem("bad_json", _CUT_SHORT)
    return raw


class Bodies:
    """The schemas of the bodies, made once for an application with its settings."""

    def __init__(self, settings):
        self.max_body = settings.max_body
        self.phone_prefix = settings.phone_prefix
        self.create = LeadBody(settings.phone_prefix)
        self.update = LeadBody(settings.phone_prefix, partial=True)
        self.convert = ConvertBody()
        self.restore = RestoreBody()
        self.erase = EraseBody()
        self.merge = MergeBody()


def bodies() -> Bodies:
    """Those of the application under way."""
    return current_app.extensions["leads_bodies"]


def json_body():
    """The value of the request's JSON body.

    Raises Problem: unsupported_media_type, too_large, or bad_json as strict_json.parse_json does.
    """
    require_media_type(request, "application/json")
    return parse_json(read_body(request, bodies().max_body))
