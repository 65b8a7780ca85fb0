"""What a route promises, said once, on its view; and how addresses are matched."""

from collections.abc import Callable
from typing import NamedTuple

from marshmallow import Schema
from werkzeug.routing import BaseConverter, PathConverter

from leads_service.access.callers import Role

PUBLIC = Role.NONE  # of a route that asks for no credential


class Promise(NamedTuple):
    """Who may use a route, what it takes and what it gives. `promise` says what each part is."""

    role: Role
    answers: dict[int, dict[str, dict]]
    query: type[Schema] | None
    body: dict[str, dict]
    body_required: bool
    fails: tuple[str, ...]
    takes: tuple[str, ...]
    in_batches: bool
    all_companies_only: bool


def promise(role: Role, answers: dict[int, dict[str, dict]], *, query: type[Schema] | None = None,
            body: dict[str, dict] | None = None, body_required: bool = True, fails: tuple[str, ...] = (),
            takes: tuple[str, ...] = (), in_batches: bool = False, all_companies_only: bool = False) -> Callable:
    """A decorator that gives a view its Promise; a view without one is refused to everybody.

    `role` is the least one that may use it, PUBLIC for everybody; `answers` maps each status of success to the JSON
    Schema of each media type, as `body` does for the request's (shapes.py makes both); `query` judges the query
    string. `fails` are the codes of PROBLEMS that only this route has: openapi.py adds those of every route of its
    kind. `takes` are the request's headers that mean something here: the view asks for conditions itself
    (requests/conditions.py); a route that takes a key has its first answer kept (requests/idempotency.py), in the
    transaction of its work, unless it works `in_batches`, each a transaction of its own.
    `all_companies_only` refuses the callers that belong to one company.
    """
    made = Promise(role, answers, query, body or {}, body_required, fails, takes, in_batches, all_companies_only)

    def decorate(view):
        view.promise = made
        return view
    return decorate


def promise_of(view: Callable) -> Promise | None:
    """What the view promises; None when it promises nothing."""
    return getattr(view, "promise", None)


class Segment(BaseConverter):
    """A part of a path that is an argument: anything but a short word, which names a route.

    Without it DELETE /leads/export would ask for the lead "export", and the Allow of POST /leads/export would name
    what can be done with a lead.
    """

    part_isolating = True
    regex = r"(?![a-z]{1,31}\Z)[^/]+"  # a UUID may be all letters, and has 32 of them


class Rest(PathConverter):
    """The rest of a path, whatever it holds: Werkzeug's own takes no line break and no slash at its beginning."""

    part_isolating = False
    regex = "(?s:.+)"
