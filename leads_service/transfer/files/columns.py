"""What columns are called elsewhere: in the legacy table, in the ERP, in the exports of other systems."""

import re

from leads_service.contract.lead import LEAD_COLUMNS
from leads_service.contract.vocabulary import LONGEST_WORD, fold

# English and French, EspoCRM, Odoo, HubSpot, Salesforce, Pipedrive, Zoho, Krayin, CRMs on Supabase; case, accents,
# blanks and signs do not count. first_name and last_name are no columns: together they make `name`.
_NAMES = {
    "id": ("identifiant", "uuid", "record id", "lead id", "contact id", "external id", "id externe"),
    "name": ("nom", "nom complet", "full name", "fullname", "lead name", "nom du lead", "prospect", "nom du prospect",
             "opportunity", "opportunity name", "opportunité", "nom de l'opportunité", "lead title", "deal title",
             "deal name", "nom de la transaction", "prénom et nom", "nom et prénom", "nom prénom", "prénom nom",
             "client", "nom du client", "customer", "customer name"),
    "first_name": ("first name", "prénom", "given name", "forename"),
    "last_name": ("last name", "nom de famille", "surname", "family name"),
    "email": ("e-mail", "mail", "courriel", "adresse e-mail", "adresse mail", "adresse électronique", "email address",
              "email from", "email work", "work email", "email home", "home email", "email other", "other email",
              "email pro", "email professionnel", "email perso", "email personnel", "business email", "personal email",
              "secondary email", "contact email", "email du contact", "primary email", "email normalized",
              "person email", "person email work", "person email home", "person email other", "email value"),
    "phone": ("téléphone", "tél", "telephone number", "phone number", "numéro de téléphone", "n° de téléphone",
              "numéro",
              "mobile", "mobile phone", "mobile phone number", "mobile number", "portable", "tél portable",
              "téléphone portable", "téléphone mobile",
              "tél mobile", "numéro de portable", "numéro de téléphone mobile",
              "gsm", "cell", "cell phone", "phone work", "work phone", "phone home", "home phone", "phone other",
              "other phone", "phone mobile", "business phone", "téléphone fixe", "tél fixe", "fixe",
              "téléphone professionnel", "téléphone pro", "contact number", "contact numbers", "primary phone",
              "person phone", "person phone work", "person phone home", "person phone mobile", "person phone other",
              "phone value"),
    "source": ("lead source", "source du lead", "source du prospect", "source de la piste", "origine", "provenance",
               "original source", "source d'origine", "contact source", "opportunity source", "source channel"),
    "stage": ("étape", "lead stage", "deal stage", "pipeline stage", "sales stage", "étape du pipeline",
              "étape de la transaction", "phase"),
    "status": ("statut", "état", "lead status", "statut du lead", "statut du prospect", "statut de la piste",
               "deal status", "contact status"),
    "interest_level": ("intérêt", "niveau d'intérêt", "interest"),
    "notes": ("note", "description", "comment", "comments", "commentaire", "commentaires", "remarque", "remarques",
              "remarks", "internal notes", "notes internes", "observations", "background"),
    "tags": ("tag", "étiquette", "étiquettes", "label", "labels", "lead label", "lead labels", "person label",
             "person labels", "deal label", "libellés", "mots-clés", "tag ids", "tag names"),
    "address": ("adresse", "street", "rue", "street address", "address street", "address line 1", "adresse postale",
                "adresse rue", "mailing street", "billing street", "organization address", "full address"),
    "city": ("ville", "town", "localité", "commune", "address city", "mailing city", "billing city", "adresse ville"),
    "company": ("entreprise", "société", "company name", "nom de l'entreprise", "nom de la société", "raison sociale",
                "account", "account name", "company account", "compte", "nom du compte", "organization",
                "organization name", "organisation", "organisation name", "nom de l'organisation",
                "person organization",
                "partner name", "business name", "employer", "associated company", "primary associated company"),
    "contact": ("contact name", "nom du contact", "contact person", "contact principal", "personne de contact",
                "person", "person name", "nom de la personne", "interlocuteur", "lead contact person"),
    "owner": ("propriétaire", "responsable", "commercial", "vendeur", "lead owner", "contact owner", "record owner",
              "account owner", "deal owner", "opportunity owner", "person owner", "owner name", "sales owner",
              "salesperson", "sales person", "sales rep", "assigned to", "assigned user", "assigned user name",
              "assigné à", "attribué à", "utilisateur assigné", "propriétaire du contact", "propriétaire du lead",
              "propriétaire de la piste", "chargé d'affaires", "user name"),
    "segment": ("segment client", "customer segment"),
    "activities": ("activités",),
    "created_at": ("créé le", "date de création", "create date", "created date", "created time", "created on",
                   "created",
                   "creation date", "date created", "lead created", "lead lead created", "person created",
                   "deal created",
                   "heure de création"),
    "updated_at": ("modifié le", "mis à jour le", "date de modification", "date de dernière modification",
                   "dernière modification", "modified at", "modified date", "modified time", "modified on",
                   "updated on",
                   "updated date", "last modified", "last modified date", "last modified on", "last updated",
                   "last updated on", "date modified", "update time", "lead update time", "person update time",
                   "write date"),
}
# The keys of notes that mean something to the service, called elsewhere.
_NOTES = {
    "next_step_date": ("prochaine relance", "date de prochaine relance", "date de la prochaine relance",
                       "date de relance", "relance", "relance le", "à relancer le", "prochain rappel", "date de rappel",
                       "rappel le", "à rappeler le", "prochain contact", "date de la prochaine étape",
                       "date de la prochaine action", "prochaine étape le", "prochaine action le",
                       "date de la prochaine activité", "next follow up", "next follow up date", "follow up date",
                       "next contact date", "next action date", "next activity date", "next activity deadline",
                       "lead next activity date", "deal next activity date"),
    "next_step_note": ("prochaine étape", "prochaine action", "next step", "next action", "next activity summary"),
    "estimated_value": ("valeur estimée", "montant estimé", "montant", "montant prévu", "montant potentiel",
                        "montant de l'opportunité", "montant de la transaction", "valeur de l'opportunité",
                        "ca potentiel", "ca estimé", "ca prévu", "revenu espéré", "revenu attendu", "amount",
                        "estimated amount", "expected amount", "expected value", "expected revenue", "deal value",
                        "lead value", "deal amount", "opportunity amount"),
    "last_contact": ("dernier contact", "date du dernier contact", "date de dernier contact", "dernier contact le",
                     "contacté le", "last contacted", "last contact date", "last contacted date",
                     "date of last contact"),
}
NOTE_KEYS = tuple(_NOTES)
# Columns of the legacy table that have no home here; they become keys of notes. A file with one of them is legacy.
LEGACY_ONLY = ("next_step_date", "next_step_note", "last_contact", "estimated_value", "support_type", "support_detail")
# Next to a first name they mean the last name.
_EITHER = ("nom", "name")


_SIGNS = re.compile("[^a-z0-9]+")
_DIGITS = re.compile("[0-9]+")


def _bare(heading):
    return _SIGNS.sub("", fold(heading))


_MEANINGS = {_bare(column): column for column in LEAD_COLUMNS} | {
    _bare(name): meaning for meaning, names in (_NAMES | _NOTES).items() for name in (meaning, *names)}
_LEGACY_OF = {_bare(column): column for column in LEGACY_ONLY}


def meaning_of(heading: str) -> str | None:
    """The column of leads that `heading` means, first_name, last_name, or the one of NOTE_KEYS; else None.

    What stands in brackets does not count, nor does a number at the end: `E-mail (pro)`, `Phone 2`.
    """
    if len(heading) > LONGEST_WORD:
        heading = heading.partition("(")[0][:LONGEST_WORD]
    bare = _bare(heading)
    if bare in _MEANINGS:
        return _MEANINGS[bare]
    if "(" in heading:
        bare = _bare(heading.partition("(")[0]) or bare
    return _MEANINGS.get(bare) or _MEANINGS.get(_DIGITS.sub("", bare))


def meanings_of(headings: list[str]) -> dict[str, str | None]:
    """What each heading means beside the others: next to a first name, `Nom` is the last name."""
    meanings = {heading: meaning_of(heading) for heading in dict.fromkeys(headings)}
    if "first_name" in meanings.values() and "last_name" not in meanings.values():
        either = next((heading for heading in headings if _bare(heading) in _EITHER), None)
        if either is not None:
            meanings[either] = "last_name"
    return meanings


def column_of(heading: str) -> str | None:
    """The column of leads that `heading` means, whatever its case, blanks, underscores and accents; else None."""
    meaning = meaning_of(heading)
    return meaning if meaning in LEAD_COLUMNS else None


def is_legacy(heading: str) -> bool:
    """Whether `heading` is a column of the legacy table that has no home in leads."""
    return _bare(heading) in _LEGACY_OF
