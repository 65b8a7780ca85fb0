"""Invented leads with a past, for trying the service: the same ones every time, as seen from today."""

import datetime as dt
import json
import random
import unicodedata
import uuid

from leads_service.contract.vocabulary import ACTIVE, ARCHIVED, CONVERTED, LOST, STAGES, WON
from leads_service.database.acting import OPERATOR
from leads_service.database.pool import database, first
from leads_service.leads.filters import calendar

LEADS = 300
_PAST = 75  # days
_FIRST = ("Amina", "Bastien", "Camille", "Damien", "Élise", "Fabrice", "Gaëlle", "Hugo", "Inès", "Jules", "Karim",
          "Léa", "Maël", "Nadia", "Paul", "Quentin", "Romane", "Sofiane", "Théo", "Valérie")
_LAST = ("Allard", "Besnard", "Carlier", "Delmas", "Étienne", "Fabre", "Garnier", "Hamon", "Jacquet", "Lacombe",
         "Maréchal", "Nguyen", "Poirier", "Renault", "Tessier", "Vasseur", "Benali", "Da Silva")
_TRADES = ("Menuiserie", "Garage", "Boulangerie", "Fleuriste", "Électricité", "Traiteur", "Librairie", "Cabinet")
_TOWNS = ("Lyon", "Nantes", "Rennes", "Angers", "Dijon", "Nîmes", "Brest", "Tours", "Pau", "Aix-en-Provence", "Vitré")
_STREETS = ("rue de la République", "avenue Jean-Jaurès", "place du Marché", "rue des Lilas", "quai de la Gare")
_OWNERS = ("Claire Morel", "Antoine Rey", "Sarah Lopez", "Mehdi Amrani")
_SOURCES = ("site web", "salon", "parrainage", "téléphone", "publicité")
_SEGMENTS = ("Particulier", "Pro local", "Entreprise", "Collectivité")
_TAGS = ("vip", "relance", "flotte", "urgent", "fidèle", "salon-2026")
_STEPS = ("Rappeler", "Envoyer le devis", "Confirmer le rendez-vous", "Relancer par e-mail", "Visiter le site")
_ACTIVITIES = (("call", "Appel : intéressé, rappeler plus tard."), ("email", "Documentation envoyée."),
               ("meeting", "Rendez-vous sur place."), ("note", "Budget à confirmer avec la direction."))
# The changes that this transaction kept, in their order, become as old as what they tell.
_BACK_DATED = """
    UPDATE leads_history h SET at = told.at
    FROM (SELECT lead_id, number, row_number() OVER (ORDER BY number) AS place FROM leads_history
          WHERE transaction = pg_current_xact_id()) AS kept
    JOIN unnest(%s::timestamptz[]) WITH ORDINALITY AS told(at, place) USING (place)
    WHERE h.lead_id = kept.lead_id AND h.number = kept.number"""


def make_demo() -> bool:
    """Make LEADS leads with the changes of some weeks, their history as old as they say; False, and nothing made, when
    the database holds leads already. Needs the tables' owner."""
    with database.atomic():
        database.execute_sql("LOCK TABLE leads IN SHARE ROW EXCLUSIVE MODE")
        if first(database.execute_sql("SELECT true FROM leads LIMIT 1")):
            return False
        chance = random.Random(17)  # noqa: S311 - invented people are no secret
        now = dt.datetime.now(dt.UTC).replace(microsecond=0)
        changes = sorted((change for number in range(LEADS) for change in _life(chance, number, now)),
                         key=lambda change: change[0])
        database.execute_sql("SET LOCAL leads.keep_updated_at = 'on'")
        for at, lead_id, values in changes:
            _write(at, lead_id, values)
        database.execute_sql(_BACK_DATED, [[at for at, _, _ in changes]])
    return True


def _life(chance, number, now):
    """The changes of a lead: when, its id, and the columns with their values. The first one makes it."""
    at = now - dt.timedelta(days=chance.uniform(1, _PAST))
    lead_id = uuid.UUID(int=chance.getrandbits(128), version=4)
    lead, notes = _person(chance, number), {"estimated_value": round(chance.lognormvariate(8, 1), -2)}
    activities = []
    yield at, lead_id, lead | {"stage": STAGES[0], "status": ACTIVE, "notes": notes, "activities": activities}
    # How far it came; who is lost is so after some way.
    way = STAGES[1:chance.choices(range(1, 6), (20, 22, 20, 14, 24))[0]]
    if WON in way and chance.random() < 0.5:
        way = [*way[:chance.randrange(4)], LOST]
    for stage in way:
        at += (now - at) * chance.uniform(0.1, 0.6)
        kind, text = chance.choice(_ACTIVITIES)
        activities = [*activities, {"id": str(uuid.UUID(int=chance.getrandbits(128), version=4)), "type": kind,
                                    "text": text, "at": at.isoformat(), "by": OPERATOR}]
        status = {WON: CONVERTED, LOST: ARCHIVED}.get(stage, ACTIVE)
        yield at, lead_id, {"stage": stage, "status": status, "activities": activities}
    if (not way or way[-1] not in (WON, LOST)) and chance.random() < 0.8:
        at += (now - at) * chance.uniform(0.1, 0.6)
        days = chance.choice((-9, -3, -1, 0, 0, 1, 2, 5, 7, 12, 30))
        notes = notes | {"next_step_date": (calendar.today() + dt.timedelta(days=days)).isoformat(),
                         "next_step_note": chance.choice(_STEPS), "last_contact": at.date().isoformat()}
        yield at, lead_id, {"notes": notes, "interest_level": chance.randrange(20, 101)}


def _person(chance, number):
    given, family, town = chance.choice(_FIRST), chance.choice(_LAST), chance.choice(_TOWNS)
    plain = unicodedata.normalize("NFD", f"{given}.{family}".lower()).encode("ascii", "ignore").decode()
    return {
        "name": f"{given} {family}", "email": f"{plain.replace(' ', '-')}.{number}@courriel.example",
        "phone": f"+3363998{number:04}",  # of the numbers that are kept for inventions
        "source": chance.choice(_SOURCES), "tags": chance.sample(_TAGS, chance.choice((0, 1, 1, 2))),
        "address": f"{chance.randrange(1, 90)} {chance.choice(_STREETS)}", "city": town,
        "company": f"{chance.choice(_TRADES)} {chance.choice(_LAST)}" if chance.random() < 0.7 else None,
        "contact": f"{given} {family}", "owner": chance.choice(_OWNERS) if chance.random() < 0.9 else None,
        "segment": chance.choice(_SEGMENTS), "interest_level": chance.randrange(0, 101)}


def _write(at, lead_id, values):
    values = {name: json.dumps(value) if name in ("notes", "activities") else value for name, value in values.items()}
    columns = [*values, "updated_at"]
    if "name" in values:
        columns, parameters = ["id", "created_at", *columns], [str(lead_id), at, *values.values(), at]
        database.execute_sql(f"INSERT INTO leads ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})",
                             parameters)
    else:
        database.execute_sql(f"UPDATE leads SET {', '.join(f'{column} = %s' for column in columns)} WHERE id = %s",
                             [*values.values(), at, str(lead_id)])
