"""What columns are called elsewhere: in the legacy table, in the ERP's French exports, in spreadsheets."""

import re

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.vocabulary import fold

_FRENCH = {
    "nom": "name", "courriel": "email", "adresse e-mail": "email", "téléphone": "phone", "tél": "phone",
    "étape": "stage", "statut": "status", "intérêt": "interest_level", "niveau d'intérêt": "interest_level",
    "note": "notes", "étiquettes": "tags", "adresse": "address", "ville": "city", "entreprise": "company",
    "société": "company", "propriétaire": "owner", "responsable": "owner", "activités": "activities",
    "identifiant": "id", "créé le": "created_at", "date de création": "created_at", "modifié le": "updated_at",
    "mis à jour le": "updated_at", "date de modification": "updated_at",
}
# Columns of the legacy table that have no home here; they become keys of notes. A file with one of them is legacy.
LEGACY_ONLY = ("next_step_date", "next_step_note", "last_contact", "estimated_value", "support_type", "support_detail")


def _bare(heading):
    return re.sub(r"[^a-z0-9]", "", fold(heading))


_COLUMN_OF = {_bare(column): column for column in LEAD_COLUMNS} | {
    _bare(heading): column for heading, column in _FRENCH.items()}
_LEGACY_OF = {_bare(column): column for column in LEGACY_ONLY}


def column_of(heading: str) -> str | None:
    """The column of leads that `heading` means, whatever its case, blanks, underscores and accents; else None."""
    return _COLUMN_OF.get(_bare(heading))


def is_legacy(heading: str) -> bool:
    """Whether `heading` is a column of the legacy table that has no home in leads."""
    return _bare(heading) in _LEGACY_OF
