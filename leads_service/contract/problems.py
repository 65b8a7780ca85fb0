"""What can go wrong: a code, a status and a sentence each."""

from typing import NamedTuple

from leads_service.contract.sentences import Sentence, in_language


class Kind(NamedTuple):
    """A kind of failure: the HTTP status, and the sentence where nothing more exact is known."""

    status: int
    sentence: Sentence


PROBLEMS = {
    "bad_request": Kind(400, Sentence("La requête est mal formée.", "The request is malformed.")),
    "bad_json": Kind(400, Sentence(
        "Le corps de la requête n'est pas du JSON valide.", "The request's body is not valid JSON.")),
    "unauthorized": Kind(401, Sentence("Identification requise.", "Credentials are required.")),
    "forbidden": Kind(403, Sentence("Cette action n'est pas permise.", "This action is not permitted.")),
    "not_found": Kind(404, Sentence("Adresse introuvable.", "Address not found.")),
    "method_not_allowed": Kind(405, Sentence(
        "Méthode non permise à cette adresse.", "Method not allowed at this address.")),
    "email_taken": Kind(409, Sentence(
        "Un lead avec cet e-mail existe déjà.", "A lead with this e-mail already exists.")),
    "id_taken": Kind(409, Sentence("Un lead avec cet identifiant existe déjà.", "A lead with this id already exists.")),
    "two_clients": Kind(409, Sentence("Ces leads sont liés à deux clients ; dites dans take duquel client_id vient.",
                        "These leads are linked to two clients; say in take whose client_id to keep.")),
    "undo_blocked": Kind(409, Sentence("La fusion ne peut pas être annulée : {reasons}",
                         "The merge cannot be undone: {reasons}")),
    "foreign_key": Kind(409, Sentence("{field} désigne une fiche qui n'existe pas.",
                       "{field} refers to a row that does not exist.")),
    "in_progress": Kind(409, Sentence("La première requête avec cette Idempotency-Key est encore en cours.",
                        "The first request with this Idempotency-Key is still under way.")),
    "merged": Kind(410, Sentence("Ce lead a été fusionné dans le lead {merged_into}.",
                   "This lead has been merged into the lead {merged_into}.")),
    "cursor_gone": Kind(410, Sentence(
        "Les modifications après ce curseur ne sont plus connues ; relisez la liste, puis repartez sans curseur.",
        "The changes after this cursor are not known any more; list again, then go on without a cursor.")),
    "erased": Kind(410, Sentence("Cette personne a été effacée.", "This person was erased.")),
    "stale": Kind(412, Sentence("Ce lead a changé entre-temps ; relisez-le d'abord.",
                  "This lead has changed meanwhile; read it again first.")),
    "too_large": Kind(413, Sentence("Le corps de la requête est trop volumineux.", "The request's body is too large.")),
    "unsupported_media_type": Kind(415, Sentence(
        "Le corps doit être d'un type accepté ici (application/json pour un lead), non compressé.",
        "The body must be of a type accepted here (application/json for a lead), not compressed.")),
    "validation_failed": Kind(422, Sentence("Données invalides : {fields}.", "Invalid data: {fields}.")),
    "key_reused": Kind(422, Sentence("Cette Idempotency-Key a déjà servi pour une autre requête.",
                       "This Idempotency-Key has been used for another request.")),
    "bulk_failed": Kind(422, Sentence("Aucun élément n'a été traité.", "No item was done.")),
    "not_done": Kind(424, Sentence("Rien n'a été fait, puisqu'un autre élément est refusé.",
                     "Nothing was done, since another item is refused.")),
    "internal": Kind(500, Sentence("Erreur interne ; elle a été enregistrée sous la référence {reference}.",
                         "Internal error; it was recorded under the reference {reference}.")),
    "busy": Kind(503, Sentence("Une autre modification est en cours ; réessayez dans un instant.",
                     "Another change is under way; try again in a moment.")),
    "unavailable": Kind(503, Sentence("Le service est momentanément indisponible ; réessayez dans un instant.",
                       "The service is unavailable for the moment; try again shortly.")),
    "timeout": Kind(504, Sentence(
        "La base de données a mis trop de temps à répondre.", "The database took too long to answer.")),
}
LEAD_NOT_FOUND = Sentence("Lead introuvable.", "Lead not found.")


class Problem(Exception):
    """An answer other than success: a code of PROBLEMS, its sentence, the 422's `detail` by field, extra keys, and the
    JSON of the `current` lead."""

    def __init__(self, code: str, sentence: str | None = None, *, detail: dict | None = None,
                 headers: dict | None = None, current: str | None = None, **extra):
        super().__init__(code)
        self.code = code
        self.sentence = PROBLEMS[code].sentence if sentence is None else sentence
        self.detail = detail
        self.headers = headers or {}
        self.current = current
        self.extra = extra


def detail_of(messages: dict) -> dict[str, list[str]]:
    """Marshmallow's messages, nested ones flattened to one list for each field."""
    return {"body" if field == "_schema" else field: list(_flat(found)) for field, found in messages.items()}


def validation_problem(messages: dict) -> Problem:
    """A 422 from marshmallow's messages."""
    detail = detail_of(messages)
    return Problem("validation_failed", PROBLEMS["validation_failed"].sentence.format(fields=", ".join(detail)),
                   detail=detail)


def unknown_row(field: str) -> Problem:
    """The 409 of a field that names a client or company which does not exist, or not for this caller."""
    return Problem("foreign_key", PROBLEMS["foreign_key"].sentence.format(field=field), field=field)


_AT_INDEX = Sentence("Élément {index} : {message}", "Item {index}: {message}")


def _flat(found):
    if isinstance(found, dict):
        for index, inner in found.items():
            for message in _flat(inner):
                french, english = in_language(message, "fr"), in_language(message, "en")
                yield Sentence(_AT_INDEX.format(index=index, message=french),
                               in_language(_AT_INDEX, "en").format(index=index, message=english))
    else:
        yield from found
