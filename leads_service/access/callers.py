"""Who calls: a name, a role, and the company whose leads are theirs."""

import uuid
from enum import IntEnum
from typing import NamedTuple


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
