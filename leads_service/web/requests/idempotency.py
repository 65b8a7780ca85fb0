"""A request that may come again: what has an Idempotency-Key is done once and answered as the first time.

As the draft of the IETF's HTTPAPI group has it (draft-ietf-httpapi-idempotency-key-header). The key's answer is written
in the transaction of the work itself, so that no kill and no lost connection leaves one without the other.
"""

import functools
import hashlib
import io
import re

from flask import Flask, Response, make_response, request

from leads_service.access.callers import Caller
from leads_service.contract.problems import Problem
from leads_service.contract.vocabulary import parse_uuid
from leads_service.database.answers import HEADER as IDEMPOTENCY_KEY
from leads_service.database.answers import Answer, answer_once
from leads_service.database.failures import retrying
from leads_service.web.authorization import current_caller
from leads_service.web.body import bodies, read_body, require_media_type
from leads_service.web.description.route import promise_of
from leads_service.web.requests.conditions import malformed

_KEY = re.compile(r'"([\x21\x23-\x7e]{1,255})"|([\x21\x23-\x7e]{1,255})')


def register(app: Flask) -> None:
    """Have the views of `app` that take a key answer a request with one as they did the first time."""
    for endpoint, view in app.view_functions.items():
        promised = promise_of(view)
        if promised and IDEMPOTENCY_KEY in promised.takes:
            app.view_functions[endpoint] = _once(view)


def _once(view):
    @functools.wraps(view)
    def answered(**arguments):
        if IDEMPOTENCY_KEY not in request.headers or _is_of_another_type(view.promise):
            return view(**arguments)
        key, body = key_of(request.headers[IDEMPOTENCY_KEY], current_caller()), read_body(request, bodies().max_body)

        def answer():
            request.environ["wsgi.input"] = io.BytesIO(body)  # again at each try
            response = make_response(view(**arguments))
            return Answer(response.status_code, list(map(list, response.headers)), response.get_data())

        made, again = retrying(lambda: answer_once(
            key, _fingerprint(body), current_caller().company_id, answer,
            lead_id=parse_uuid(arguments.get("lead_id", "")), in_batches=view.promise.in_batches))
        response = Response(made.body, made.status, made.headers)
        if again:
            response.headers["Idempotent-Replayed"] = "true"
        return response
    return answered


def key_of(header: str, caller: Caller) -> bytes:
    """The caller's key, as it is kept: 32 bytes that tell neither. Raises Problem("bad_request")."""
    found = _KEY.fullmatch(header)
    if not found:
        raise malformed(IDEMPOTENCY_KEY)
    # The name comes last, since it may hold a line break; a token's may hold half a character, too.
    return _digest(f"{found[1] or found[2]}\n{caller.company_id}\n{caller.name}".encode(errors="surrogatepass"))


def _is_of_another_type(promised):
    # The view refuses it in its own words, without a database.
    try:
        require_media_type(request, *promised.body)
    except Problem:
        return True
    return False


def _fingerprint(body):
    boundary = request.mimetype_params.get("boundary")
    if boundary:  # of a form, made up anew each time that the same file is sent
        body = body.replace(boundary.encode(), b"")
    return _digest(b"\n".join((request.path.encode(), request.query_string, body)))


def _digest(text):
    return hashlib.sha256(text).digest()
