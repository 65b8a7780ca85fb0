"""Who calls: a name, a role, and the company whose leads are theirs."""

import uuid
from enum import IntEnum
from typing import NamedTuple

from flask import current_app, g


class Role(IntEnum):
    """What a caller may do; each role may do what those before it may."""

    NONE = 0
    READER = 1
    EDITOR = 2
    ADMIN = 3


ROLE_NAMES = {role.name.lower(): role for role in Role if role}


class Caller(NamedTuple):
    """Somebody who calls. `company_id` is the company whose leads they see and write; None: all leads."""

    name: str
    role: Role
    company_id: uuid.UUID | None


ANYBODY = Caller("anybody", Role.ADMIN, None)  # where nobody is asked who they are


def caller() -> Caller:
    """Who makes the request under way."""
    # Where callers are asked, a request that came past that question has no caller, and fails.
    return g.leads_caller if current_app.extensions["leads_settings"].auth else ANYBODY
