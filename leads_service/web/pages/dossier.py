"""A dossier as a page that a person can read, print and hand on: no script, nothing from anywhere else."""

import base64
import hashlib
import json
from html import escape

from leads_service.contract.sentences import Sentence, in_language

_STYLE = """body { font: 1rem/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100%; margin-bottom: 1rem }
th, td { border: 1px solid; padding: .3rem .6rem; text-align: left; vertical-align: top; overflow-wrap: anywhere }
th { width: 14rem; font-weight: normal }"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {"Vary": "Accept, Accept-Language", "Content-Security-Policy": (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")}

_TITLE = Sentence("Dossier : ce que nous savons de vous", "Dossier: what we know of you")
_DELETED = Sentence("Cette fiche a été supprimée ; l'historique la garde.",
                    "This record was deleted; the history keeps it.")
_NONE = Sentence("Rien.", "Nothing.")
_NEXT = Sentence("La suite de ce dossier", "The next part of this dossier")
_TRUTHS = {True: Sentence("oui", "yes"), False: Sentence("non", "no")}
_PARTS = {
    "lead": Sentence("La fiche", "The record"),
    "activities": Sentence("Ce qui a été fait", "What was done"),
    "history": Sentence("Les modifications, la plus récente d'abord", "The changes, the newest first"),
    "imports": Sentence("Les imports dont la fiche vient", "The imports that the record comes from"),
    "merges": Sentence("Les fusions avec d'autres fiches", "The merges with other records"),
    "client": Sentence("Le client, tenu par l'ERP", "The client, kept by the ERP"),
}
_WORDS = {
    "id": Sentence("identifiant", "id"), "name": Sentence("nom", "name"), "email": Sentence("e-mail", "e-mail"),
    "phone": Sentence("téléphone", "phone"), "source": Sentence("provenance", "source"),
    "stage": Sentence("étape", "stage"), "status": Sentence("statut", "status"),
    "interest_level": Sentence("intérêt (0 à 100)", "interest (0 to 100)"), "notes": Sentence("notes", "notes"),
    "tags": Sentence("étiquettes", "tags"), "address": Sentence("adresse", "address"),
    "city": Sentence("ville", "city"),
    "company": Sentence("entreprise", "company"), "contact": Sentence("contact", "contact"),
    "owner": Sentence("suivi par", "owner"), "segment": Sentence("segment", "segment"),
    "activities": Sentence("activités", "activities"), "client_id": Sentence("client", "client"),
    "company_id": Sentence("société", "company"), "created_at": Sentence("créée le", "created at"),
    "updated_at": Sentence("modifiée le", "changed at"), "company_name": Sentence("entreprise", "company"),
    "run": Sentence("import", "import"), "op": Sentence("action", "action"), "at": Sentence("le", "at"),
    "by": Sentence("par", "by"), "request_id": Sentence("requête", "request"), "change": Sentence("numéro", "number"),
    "fields": Sentence("champs", "fields"), "survivor_id": Sentence("fiche gardée", "record that stayed"),
    "losers": Sentence("fiches fusionnées", "records that were merged"),
    "undone_at": Sentence("annulée le", "undone at"), "undone_by": Sentence("annulée par", "undone by"),
    "old": Sentence("avant", "before"), "new": Sentence("après", "after"),
}


def dossier_page(texts: dict[str, str], cursor: str | None, language: str) -> str:
    """A part of a dossier, as leads/personal/dossier.py makes it, as an HTML page in "fr" or "en"; `cursor` is of the
    next part."""
    def told(sentence):
        return escape(in_language(sentence, language))

    found = {name: json.loads(text) for name, text in texts.items()}
    parts = [f'<!doctype html>\n<html lang="{language}">\n<head>\n<meta charset="utf-8">\n'
             f'<meta name="viewport" content="width=device-width">\n<title>{told(_TITLE)}</title>\n'
             f"<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{told(_TITLE)}</h1>"]
    if found["deleted"]:
        parts.append(f"<p>{told(_DELETED)}</p>")
    for part, sentence in _PARTS.items():
        parts += [f"<h2>{told(sentence)}</h2>", _shown(found[part], told) or f"<p>{told(_NONE)}</p>"]
    if cursor:
        parts.append(f'<p><a rel="next" href="?cursor={cursor}">{told(_NEXT)}</a></p>')
    return "\n".join([*parts, "</body>\n</html>\n"])


def _shown(value, told):
    """A JSON value as HTML; "" for one that says nothing."""
    if isinstance(value, dict):
        rows = "".join(f"<tr><th>{told(_WORDS.get(key, key))}</th><td>{_shown(each, told)}</td></tr>\n"
                       for key, each in value.items())
        return rows and f"<table>\n{rows}</table>"
    if isinstance(value, list):
        return "\n".join(_shown(each, told) for each in value)
    if isinstance(value, bool):
        return told(_TRUTHS[value])
    return "" if value is None else escape(str(value))
