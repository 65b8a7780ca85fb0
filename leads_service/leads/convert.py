"""A lead becomes a client."""

import uuid
from collections.abc import Collection

from peewee import SQL, fn

from leads_service.contract.problems import LEAD_NOT_FOUND, Problem, validation_problem
from leads_service.contract.sentences import Sentence
from leads_service.contract.vocabulary import CONVERTED, WON
from leads_service.database.pool import database, first
from leads_service.database.tables import Client, Lead
from leads_service.database.versions import demand_version
from leads_service.leads.filters import of_company, where
from leads_service.leads.record import CLIENT_IS_OPEN, demand_client, lead_by_id

LINKED_ELSEWHERE = Sentence("Ce lead est déjà lié au client {client_id}.",
                            "This lead is already linked to the client {client_id}.")


def convert_lead(lead_id: uuid.UUID, client_id: uuid.UUID | None, company_id: uuid.UUID | None,
                 versions: Collection[str] | None = None) -> uuid.UUID:
    """Link the lead, one of this company's (None: of any), to `client_id`, else to the client that it has, shares its
    e-mail with, or becomes; give its id. A client of other companies' leads only is not shared with this one.

    One transaction under the lead's row lock: at once or again, it is the same client. Raises Problem (no such lead;
    stale, where it has none of the `versions`; linked to another client than the one asked for) and
    peewee.IntegrityError (no such client).
    """
    with database.atomic():
        met, parameters = where(of_company(company_id))
        lead = Lead.select().where(Lead.id == lead_id, SQL(met, parameters)).for_update().get_or_none()
        if lead is None:
            raise Problem("not_found", LEAD_NOT_FOUND)
        if versions is not None:
            demand_version(lead_by_id(lead_id, company_id), versions)
        if lead.client_id and client_id not in (None, lead.client_id):
            raise validation_problem({"client_id": [LINKED_ELSEWHERE.format(client_id=lead.client_id)]})
        demand_client(client_id, company_id)
        chosen = (lead.client_id or client_id or _client_with_email(lead.email, company_id)
                  or _client_from(lead, company_id))
        if (lead.client_id, lead.status, lead.stage) != (chosen, CONVERTED, WON):
            Lead.update(client=chosen, status=CONVERTED, stage=WON).where(Lead.id == lead_id).execute()
        return chosen


def _client_with_email(email, company_id):
    if email is None:
        return None
    clients = Client.select(Client.id).where(fn.lower(Client.email) == fn.lower(email))
    if company_id:
        clients = clients.where(SQL(CLIENT_IS_OPEN.format('"t1"."id"'), [str(company_id)]))
    return clients.order_by(Client.created_at, Client.id).limit(1).scalar()


def _client_from(lead, company_id):
    # Nothing is made when another lead with this e-mail became a client since we looked.
    if company_id is None or lead.email is None:
        return _made(lead, lead.email) or _client_with_email(lead.email, company_id)
    # Others' client may have the e-mail. Linking that one would show that it exists, and a client needs no e-mail; but
    # then no later lead with this e-mail would find the new client by it, which would show it too. So its id is known,
    # whether or not it got the e-mail, and one statement makes it in both cases.
    known_id = uuid.UUID(first(database.execute_sql("SELECT md5(%s || lower(%s))", (str(company_id), lead.email))))
    unless_taken = SQL("(CASE WHEN EXISTS (SELECT FROM clients WHERE lower(email) = lower(%s)) THEN NULL ELSE %s END)",
                       [lead.email, lead.email])
    return (_made(lead, unless_taken, known_id) or _client_with_email(lead.email, company_id)
            or _open_client(known_id, company_id) or _made(lead, None))


def _open_client(client_id, company_id):
    with_id = Client.select(Client.id).where(Client.id == client_id)
    return with_id.where(SQL(CLIENT_IS_OPEN.format('"t1"."id"'), [str(company_id)])).scalar()


def _made(lead, email, client_id=None):
    made = Client.insert(
        id=client_id or uuid.uuid4(), type="company" if lead.company else "individual", name=lead.name,
        company_name=lead.company, email=email, phone=lead.phone, address=lead.address, city=lead.city, tags=lead.tags,
        contacts=[{"name": lead.contact}] if lead.contact else [],
    ).on_conflict_ignore().returning(Client.id).execute()
    return next((client.id for client in made), None)
