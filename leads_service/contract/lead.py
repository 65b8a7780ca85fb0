"""A lead as clients send it and see it: its columns, and the bodies that are judged."""

import contextlib
import json

from marshmallow import Schema, ValidationError, post_load, pre_load, validates, validates_schema

from leads_service.contract.fields import (
    NOT_OBJECT,
    REQUIRED,
    Activities,
    Email,
    Flag,
    Notes,
    Phone,
    Stage,
    Status,
    Tags,
    Text,
    Uuid,
    UuidByField,
    Uuids,
    WholeNumber,
    misread_keys,
)
from leads_service.contract.sentences import Sentence
from leads_service.contract.sizes import MAX_BYTES, fits
from leads_service.contract.vocabulary import ACTIVE, NEW

UNKNOWN = Sentence("Champ inconnu.", "Unknown field.")
TOO_MANY_FIELDS = Sentence("Cet objet a trop de champs.", "This object has too many fields.")
TWO_SPELLINGS = Sentence("Ce champ est donné deux fois, sous deux noms et avec deux valeurs.",
                         "This field is given twice, under two names and with two values.")
OTHER_ID = Sentence("L'identifiant n'est pas celui de l'adresse.", "The id is not the one in the path.")

MAX_FIELDS = 1000  # of a body, so that naming each unknown one stays cheap
_LONGEST_NAME = 60  # characters of an unknown field's name that an answer repeats
TOO_LARGE = Sentence(f"notes, activities et tags dépassent ensemble {MAX_BYTES // 1024} Kio.",
                     f"notes, activities and tags are together larger than {MAX_BYTES // 1024} KiB.")


class _Body(Schema):
    """A JSON object whose fields also go by their camelCase names."""

    error_messages = {"unknown": UNKNOWN, "type": NOT_OBJECT}
    ignored: tuple[str, ...] = ()

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.aliases = {camel_case(name): name for name in (*self.fields, *self.ignored) if "_" in name}

    @pre_load
    def _rename(self, body, **kwargs):
        if not isinstance(body, dict):
            return body
        if len(body) > MAX_FIELDS:
            raise ValidationError(TOO_MANY_FIELDS)
        renamed = {self.aliases.get(name, name): value for name, value in body.items()}
        return {shortened(name): value for name, value in renamed.items() if name not in self.ignored}

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _agree(self, loaded, body, **kwargs):
        both = [(alias, name) for alias, name in self.aliases.items()
                if isinstance(body, dict) and alias in body and name in body and name not in self.ignored]
        clashes = [name for alias, name in both if json.dumps(body[alias]) != json.dumps(body[name])]
        if clashes:
            raise ValidationError({name: [TWO_SPELLINGS] for name in clashes})


def shortened(name: str) -> str:
    """An unknown field's name as an answer repeats it."""
    return name if len(name) <= _LONGEST_NAME else name[:_LONGEST_NAME] + "…"


def camel_case(name: str) -> str:
    """`interest_level` as `interestLevel`."""
    head, *rest = name.split("_")
    return head + "".join(map(str.capitalize, rest))


class LeadBody(_Body):
    """A lead as clients send it; loads to a dict of column names and values."""

    ignored = ("created_at", "updated_at")

    id = Uuid(allow_none=True)
    name = Text(255, required=True)
    email = Email(255, allow_none=True)
    phone = Phone(50, allow_none=True)
    source = Text(100, allow_none=True)
    stage = Stage(allow_none=True)
    status = Status(allow_none=True)
    interest_level = WholeNumber(0, 100)
    notes = Notes(allow_none=True)
    tags = Tags(allow_none=True)
    address = Text(allow_none=True)
    city = Text(100, allow_none=True)
    company = Text(255, allow_none=True)
    contact = Text(255, allow_none=True)
    owner = Text(100, allow_none=True)
    segment = Text(100, allow_none=True)
    activities = Activities(allow_none=True)
    client_id = Uuid(allow_none=True)
    company_id = Uuid(allow_none=True)

    def __init__(self, phone_prefix: str = "+33", **kwargs):
        super().__init__(**kwargs)
        self.fields["phone"].prefix = phone_prefix
        self._names = {*self.fields, *self.ignored}

    # The rules of fields stand in their classes; `load` knows of no other than this one.
    @validates("notes")
    def _known_keys(self, notes, **kwargs):
        if wrong := misread_keys(notes or {}):
            raise ValidationError(wrong)

    def load(self, data: object, **options) -> dict:
        """As any schema's. A body without a fault is asked its fields and no more, which takes a fifth of the time; for
        what is wrong with others marshmallow looks."""
        if isinstance(data, dict) and not options:
            values = {self.aliases.get(name, name): value for name, value in data.items()}
            if len(values) == len(data) and values.keys() <= self._names:
                with contextlib.suppress(ValidationError):
                    lead = self.judge(values)
                    self._known_keys(lead.get("notes"))
                    return lead
        return super().load(data, **options)

    def judge(self, values: dict) -> dict:
        """What `load` makes of `values`, whose keys are names of fields or ignored; raises ValidationError as it does.

        For a file's many rows. The known keys of notes may hold anything, since other systems wrote them.
        """
        lead, errors = {}, {}
        for name, field in self.fields.items():
            if name in values:
                try:
                    value = values[name]
                    # The field's own rule: marshmallow's `deserialize` around it takes as long again.
                    lead[name] = field.deserialize(None) if value is None else field._deserialize(value, name, values)
                except ValidationError as error:
                    errors[name] = error.messages
            elif field.required and not self.partial:
                errors[name] = [REQUIRED]
        if errors:
            raise ValidationError(errors)
        return self._columns(lead)

    @post_load
    def _columns(self, lead, **kwargs):
        if lead.get("status"):
            lead["status"], stage = lead["status"]
            if stage:
                lead.setdefault("stage", stage)
        if lead.get("id", "") is None:
            del lead["id"]
        for name, empty in (("notes", {}), ("tags", []), ("activities", [])):
            if name in lead and lead[name] is None:
                lead[name] = empty
        bounded = [name for name in ("notes", "activities", "tags") if lead.get(name)]
        # A change is judged where the rest of the lead is known: leads/record.py.
        if bounded and not self.partial and not fits(*(lead[name] for name in bounded)):
            raise ValidationError({name: [TOO_LARGE] for name in bounded})
        if not self.partial:
            lead.setdefault("status", ACTIVE)
            lead.setdefault("stage", NEW)
        return lead


class ConvertBody(_Body):
    """Which client a lead becomes; without it, one is found or made."""

    client_id = Uuid(allow_none=True)


class RestoreBody(_Body):
    """The number of the change to go back to; without it, a deleted lead comes back as it was."""

    to = WholeNumber(1, 10**18, allow_none=True)


class EraseBody(_Body):
    """Why a lead is to be erased, and its name or e-mail, so that no other one is; or what would be."""

    reason = Text(255, required=True)
    confirm = Text(255, required=True)
    dry_run = Flag(load_default=False)


# The fields of which a merge keeps one lead's value.
TAKEABLE = ("name", "email", "phone", "source", "stage", "status", "interest_level", "address", "city", "company",
            "contact", "owner", "segment", "client_id")
MOST_OTHERS = 19  # leads that are merged into one at once


class MergeBody(_Body):
    """The leads that are merged into the one in the path, the fields whose value is that of a lead named here, and
    whether only to tell what would be."""

    others = Uuids(1, MOST_OTHERS, required=True)
    take = UuidByField({name: name for name in TAKEABLE} | {camel_case(name): name for name in TAKEABLE},
                       allow_none=True)
    dry_run = Flag(allow_none=True)


# A lead's columns in the order in which callers see them.
LEAD_COLUMNS = (
    "id", "name", "email", "phone", "source", "stage", "status", "interest_level", "notes", "tags", "address", "city",
    "company", "contact", "owner", "segment", "activities", "client_id", "company_id", "created_at", "updated_at",
)
