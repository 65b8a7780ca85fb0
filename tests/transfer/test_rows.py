"""What rows of files mean, read without a database."""

import datetime as dt
import io
import json
import uuid

import pytest

from leads_service.contract.lead import LeadBody
from leads_service.transfer.files.reading import read
from leads_service.transfer.rows import Reader
from leads_service.transfer.sources import Fault, SourceError

ID = "f3b1a0a2-5b1f-4a57-9c30-3f0b5f3ad001"


class Reading:
    """What the rows of a text became: `leads` by name, `faults`, `given` by name, and what was understood."""

    def __init__(self, text, words=None, defaults=None):
        source = read(io.BytesIO(text.encode()))
        reader = Reader(source, LeadBody(), defaults or {}, None, words=words)
        read_rows = [reader.read(row) for row in source.rows]
        self.faults = [(each.column, each.code, str(each.message)) for each in read_rows if isinstance(each, Fault)]
        self.incoming = {each.lead["name"]: each for each in read_rows if not isinstance(each, Fault)}
        self.leads = {name: each.lead for name, each in self.incoming.items()}
        self.understood = reader.described("en")


def cell(column, text, **others):
    """The one lead of a file with this cell, or the fault."""
    quoted = '"' + text.replace('"', '""') + '"'
    heading, values = ",".join(["name", column, *others]), ",".join(["A", quoted, *others.values()])
    reading = Reading(f"{heading}\n{values}\n")
    return reading.leads["A"] if reading.leads else reading.faults[0]


# --- headings ---

@pytest.mark.parametrize(("heading", "row"), [
    ("First Name,Last Name,Email,Phone Number,Company Name,Contact owner,City,Create Date,Lead Status",  # HubSpot
     "Zoé,Roy,z@example.com,0612345678,ACME,Nadia,Aix,2025-10-31 14:30,New"),
    ('"Lead Owner","First Name","Last Name","Company / Account","Email","Mobile","City","Create Date","Lead Status"',
     "Nadia,Zoé,Roy,ACME,z@example.com,0612345678,Aix,31/10/2025 14:30,New"),  # Salesforce
    ("OwnerName,FirstName,LastName,Company,Email,MobilePhone,City,CreatedDate,Status",
     "Nadia,Zoé,Roy,ACME,z@example.com,0612345678,Aix,2025-10-31T14:30:00.000+0000,New"),
    ("Opportunity,Customer,Company Name,Email,Phone,Salesperson,City,Created on,Stage",  # Odoo
     "Zoé Roy,,ACME,z@example.com,0612345678,Nadia,Aix,2025-10-31 14:30:00,New"),
    ("Opportunité,Nom de la société,E-mail,Téléphone,Vendeur,Ville,Créé le,Étape",
     "Zoé Roy,ACME,z@example.com,0612345678,Nadia,Aix,2025-10-31 14:30:00,Nouveau"),
    ("firstName,lastName,accountName,emailAddress,phoneNumber,assignedUserName,addressCity,createdAt,status",  # EspoCRM
     "Zoé,Roy,ACME,z@example.com,0612345678,Nadia,Aix,2025-10-31 14:30:00,New"),
    ("Person - Name,Organization - Name,Person - Email - Work,Person - Phone - Mobile,Lead - Owner,City,"  # Pipedrive
     "Lead - Lead created,Status", "Zoé Roy,ACME,z@example.com,0612345678,Nadia,Aix,2025-10-31 14:30:00,New"),
    ("Lead Owner,First Name,Last Name,Company,Email,Phone,City,Created Time,Lead Status",  # Zoho
     "Nadia,Zoé,Roy,ACME,z@example.com,0612345678,Aix,2025-10-31 14:30:00,New"),
    ("Person Name,Organization,Person Email,Contact Numbers,Sales Person,City,Created At,Stage",  # Krayin
     "Zoé Roy,ACME,z@example.com,0612345678,Nadia,Aix,2025-10-31 14:30:00,New"),
    ("first_name,last_name,company_name,email_work,phone_work,assigned_to,city,created_at,status",  # on Supabase
     "Zoé,Roy,ACME,z@example.com,0612345678,Nadia,Aix,2025-10-31 14:30:00+00,New"),
    ("PRÉNOM;NOM;Société;Courriel;Tél. portable;Commercial;Ville;Date de création;Statut",
     "Zoé;Roy;ACME;z@example.com;0612345678;Nadia;Aix;31/10/2025 14h30;Nouveau"),
    ("Entreprise;Contact;Téléphone;Email;Propriétaire;Ville;Créé le;Statut",
     "ACME;Zoé Roy;0612345678;z@example.com;Nadia;Aix;31/10/2025 14:30;Nouveau"),
], ids=lambda text: text[:24])
def test_headings_of_other_systems(heading, row):
    reading = Reading(f"{heading}\n{row}\n")
    assert not reading.faults
    lead = reading.leads["Zoé Roy"]
    assert {name: lead[name] for name in ("email", "phone", "company", "owner", "city", "stage", "status")} == {
        "email": "z@example.com", "phone": "+33612345678", "company": "ACME", "owner": "Nadia", "city": "Aix",
        "stage": "new", "status": "active"}
    assert lead["created_at"] == dt.datetime(2025, 10, 31, 14, 30, tzinfo=dt.UTC)
    assert set(lead["notes"]) <= {"legacy_status"}
    assert set(reading.understood["columns"].values()) >= {"email", "phone", "company", "owner", "city", "created_at"}


def test_first_and_last_names():
    assert set(Reading("Nom;Prénom\nRoy;Zoé\nBlanc;\n;Ida\n").leads) == {"Zoé Roy", "Blanc", "Ida"}
    assert set(Reading("Nom;Ville\nRoy;Aix\n").leads) == {"Roy"}
    reading = Reading("Full Name,First Name,Last Name,Company\nZoé Roy,Zoé,Roy,\nZ. Fox,Zoé,Fox,\n,,,ACME\n")
    assert {name: lead["notes"] for name, lead in reading.leads.items()} == {
        "Zoé Roy": {}, "Z. Fox": {"First Name": "Zoé", "Last Name": "Fox"}, "ACME": {}}


def test_of_several_columns_the_first_that_is_filled_wins():
    reading = Reading("name,Email,email_work,E-mail 2,Mobile,Phone,Couleur,\n"
                      "A,,b@example.com,c@example.com,,0612345678,bleu,x\n"
                      "B,d@example.com,d@example.com,,06 12,01 23,,\n")
    leads = reading.leads
    assert (leads["A"]["email"], leads["A"]["phone"]) == ("b@example.com", "+33612345678")
    assert leads["A"]["notes"] == {"E-mail 2": "c@example.com", "Couleur": "bleu", "column 8": "x"}
    assert (leads["B"]["phone"], leads["B"]["notes"]) == ("+33612", {"Phone": "01 23"})
    assert reading.understood["columns"] == {
        "name": "name", "Email": "email", "email_work": "email", "E-mail 2": "email", "Mobile": "phone",
        "Phone": "phone"}
    assert reading.understood["notes"] == {"E-mail 2": 1, "Couleur": 1, "column 8": 1, "Phone": 1}


def test_many_unknown_headings_are_counted_and_some_named():
    rows = "".join(json.dumps({"name": f"A{row}", **{f"k{row}_{key}": 1 for key in range(100)}}) + "\n"
                   for row in range(300))
    understood = Reading(rows).understood
    assert (len(understood["notes"]), understood["notes_count"]) == (100, 10_000)


# --- what notes knows: next steps, amounts ---

@pytest.mark.parametrize(("heading", "typed", "key", "value"), [
    ("Prochaine relance", "31/10/2025", "next_step_date", "2025-10-31"),
    ("Date de relance", "31/10/25 14h30", "next_step_date", "2025-10-31T14:30:00+00:00"),
    ("Next Activity Date", "45961", "next_step_date", "2025-10-31"),
    ("next_step_date", "31.10.2025", "next_step_date", "2025-10-31"),
    ("next_step_date", "2025-10-31 10:00:00+00", "next_step_date", "2025-10-31 10:00:00+00"),
    ("DERNIER CONTACT", "2025-10-31", "last_contact", "2025-10-31"),
    ("Prochaine étape", "Rappeler", "next_step_note", "Rappeler"),
    *((heading, typed, "estimated_value", value) for heading, typed, value in [
        ("Montant estimé", "12500", 12500), ("Montant estimé (€)", "12 500,50 €", 12500.5),
        ("Amount", "1\u202f250\u202f000", 1250000), ("Deal - Value", "1,250,000.5", 1250000.5),
        ("Valeur estimée", "1.250.000,00 EUR", 1250000), ("Montant", "€ 1500,5", 1500.5),
        ("Montant", "12,5 k€", 12500), ("Montant", "1.2 M€", 1200000), ("Montant", "-1'500", -1500),
        ("Montant", "999999999999.99", 999999999999.99), ("estimated_value", "12500.00", "12500.00"),
        ("estimated_value", "1.500", "1.500"), ("estimated_value", "1 500,00", 1500)])])
def test_what_notes_knows_is_read(heading, typed, key, value):
    reading = Reading(f'name;"{heading}"\nA;"{typed}"\n')
    assert reading.leads["A"]["notes"] == {key: value}
    assert reading.understood["columns"][heading] == f"notes.{key}"
    assert not any(words in sentence for words in ("cannot be read", "as they are")
                   for sentence in reading.understood["assumptions"])


@pytest.mark.parametrize(("heading", "typed"), [
    ("Prochaine relance", "début mars"), ("Prochaine relance", "10/31/2025"), ("Relance", "oui"),
    ("Dernier contact", "-"), *(("Montant", typed) for typed in (
        "1.500", "1,500", "12 500 €\u00a0HT", "12 500 $", "12 5000", "1 500.250,00", "1,500,00", "cher",
        "999999999999 M€", "12 %"))])
def test_what_cannot_be_read_stays_under_its_heading(heading, typed):
    reading = Reading(f'name;"{heading}"\nA;"{typed}"\n')
    assert reading.leads["A"]["notes"] == {heading: typed}
    assert reading.understood["notes"] == {heading: 1}
    assert (f"What cannot be read under {heading} stays in notes as it is, under that heading, and does not count."
            in reading.understood["assumptions"])


def test_what_notes_knows_from_json_and_from_two_columns():
    values = {"Montant": 12.5, "Prochaine étape": 5, "next_step_date": "bientôt", "Relance": 45961}
    assert Reading(json.dumps([{"name": "A", **values}])).leads["A"]["notes"] == {
        "estimated_value": 12.5, "Prochaine étape": 5, "next_step_date": "bientôt", "Relance": 45961}
    leads = Reading("name,Montant,Amount,Relance,notes\nA,,7,31/10/2025,appeler\nB,7,8,,\n").leads
    assert [lead["notes"] for lead in leads.values()] == [
        {"text": "appeler", "estimated_value": 7, "next_step_date": "2025-10-31"},
        {"estimated_value": 7, "Amount": "8"}]
    assert Reading('name,Montant,notes\nA,7,"{""estimated_value"": 8}"\n').faults[0][0] == "notes"


# --- ids and blanks ---

def test_ids_of_other_systems_mean_the_same_lead_in_every_file():
    first = Reading("ID,name,city\n101,Zoe,Aix\n 00Q5g00000AbCdE ,Bob,\n,Ida,\n").incoming
    again = Reading("Nom;Ville;Record ID\nZoe B;Pau;101\n").incoming
    json_too = Reading('[{"id": 101, "name": "Z"}]').incoming
    assert first["Zoe"].lead["id"] == again["Zoe B"].lead["id"] == json_too["Z"].lead["id"]
    assert [first[name].lead["notes"].get("legacy_id") for name in ("Zoe", "Bob", "Ida")] == [
        "101", "00Q5g00000AbCdE", None]
    assert len({each.lead["id"] for each in first.values()}) == 3
    assert "id" not in first["Zoe"].given
    assert not first["Zoe"].copy


def test_other_systems_ids_of_companies_and_clients():
    lead = Reading("Record ID,name,Company ID,client_id\n1,A,4711,x9\n").leads["A"]
    assert lead["notes"] == {"legacy_id": "1", "legacy_company_id": "4711", "legacy_client_id": "x9"}
    assert Reading(f"id,name,company_id\n{ID},A,4711\n").faults[0][0] == "company_id"
    assert Reading(f"name,company_id\nA,{ID}\n").leads["A"]["company_id"] == uuid.UUID(ID)


@pytest.mark.parametrize("spelling", [ID, ID.upper(), "{" + ID + "}", ID.replace("-", "")])
def test_a_row_with_a_uuid_is_a_copy(spelling):
    reading = Reading(f"id,name,email,phone,city,status,stage,tags,notes,interest_level\n{spelling},A,,,,,,,,\n")
    incoming = reading.incoming["A"]
    assert (incoming.lead["id"], incoming.copy) == (uuid.UUID(ID), True)
    assert incoming.given == {"id", "name", "email", "phone", "city", "status", "stage", "tags", "notes"}
    assert [incoming.lead[name] for name in ("email", "city", "status", "stage", "tags", "notes")] == [
        None, None, None, None, [], {}]


def test_the_blanks_of_a_row_without_an_id_say_nothing():
    incoming = Reading("id,name,email,city,status,stage,tags,notes,owner\n,A,a@example.com,, ,,,,NULL\n").incoming["A"]
    assert incoming.given == {"name", "email"}
    assert (incoming.lead["status"], incoming.lead["stage"]) == ("active", "new")
    defaulted = Reading("name,owner\nA,\n", defaults={"propriétaire": "Bob"}).incoming["A"]
    assert (defaulted.lead["owner"], "owner" in defaulted.given) == ("Bob", True)


# --- words ---

@pytest.mark.parametrize(("word", "status", "stage"), [
    ("New", "active", "new"), ("nouveau", "active", "new"), ("Contacted", "active", "contacted"),
    ("CONTACTÉ", "active", "contacted"), ("Proposal", "active", "proposal"), ("negotiation", "active", "negotiation"),
    ("Négociation", "active", "negotiation"), ("Won", "converti", "won"), ("Lost", "archived", "lost"),
    ("Perdu", "archived", "lost"), ("converted", "converti", "new"), ("archived", "archived", "new")])
def test_words_of_stages_as_status(word, status, stage):
    lead = cell("status", word)
    assert (lead["status"], lead["stage"]) == (status, stage)
    assert lead["notes"] == ({} if word == status else {"legacy_status": word})


def test_an_explicit_stage_wins():
    lead = cell("status", "Won", stage="Contacté")
    assert (lead["status"], lead["stage"]) == ("converti", "contacted")


def test_unknown_words_are_rejects_and_counted():
    text = "name,status,stage\nA,Qualifié,\nB,qualifié ,\nC,Chaud,Froid\nD,Froid,\n" + "E,Chaud,\n" * 3
    reading = Reading(text)
    assert [column for column, _, _ in reading.faults] == ["status", "status", "stage; status", *["status"] * 4]
    assert reading.understood["unknown_words"] == {"status": {"Chaud": 4, "Qualifié": 1, "qualifié": 1, "Froid": 1},
                                                   "stage": {"Froid": 1}}
    reading = Reading(text, words={"Qualifié": "contacted", "CHAUD": "Devis envoyé", "froid": "Perdu"})
    assert not reading.faults
    assert [(lead["status"], lead["stage"], lead["notes"]) for lead in map(reading.leads.get, "ABCD")] == [
        ("active", "contacted", {"legacy_status": "Qualifié"}), ("active", "contacted", {"legacy_status": "qualifié"}),
        ("active", "lost", {"legacy_stage": "Froid", "legacy_status": "Chaud"}),
        ("archived", "lost", {"legacy_status": "Froid"})]
    with pytest.raises(SourceError, match="Tiède n'est pas un mot connu"):
        Reading(text, words={"Chaud": "Tiède"})


def test_a_word_may_be_given_another_meaning():
    lead = Reading("name,status\nA,Lost\n", words={"lost": "active"}).leads["A"]
    assert (lead["status"], lead["stage"], lead["notes"]) == ("active", "new", {"legacy_status": "Lost"})


# --- dates ---

@pytest.mark.parametrize(("typed", "moment"), [
    ("2025-10-31", "2025-10-31T00:00"), ("2025-10-31T14:30:05Z", "2025-10-31T14:30:05"),
    ("2025-10-31 14:30:00.000006+00", "2025-10-31T14:30:00.000006"), ("20251031", "2025-10-31T00:00"),
    ("2025-10-31T14:30+02:00", "2025-10-31T12:30"), ("2025-10-31 14:30 -0130", "2025-10-31T16:00"),
    ("2025/10/31 14:30", "2025-10-31T14:30"), ("31/10/2025", "2025-10-31T00:00"), ("1/2/2025", "2025-02-01T00:00"),
    ("31/10/25", "2025-10-31T00:00"), ("31/10/95", "1995-10-31T00:00"), ("31-10-2025", "2025-10-31T00:00"),
    ("31.10.2025", "2025-10-31T00:00"), ("31/10/2025 9:05", "2025-10-31T09:05"),
    ("31/10/2025 14h30", "2025-10-31T14:30"),
    ("31/10/2025 à 14h30", "2025-10-31T14:30"), ("31/10/2025  14H", "2025-10-31T14:00"),
    ("31/10/2025\u00a014:30:05", "2025-10-31T14:30:05"), (" 31/10/2025 ", "2025-10-31T00:00"),
    ("45961", "2025-10-31T00:00"), ("45961.5", "2025-10-31T12:00"), ("45961,604166666664", "2025-10-31T14:30"),
    ("29/02/2024", "2024-02-29T00:00")])
def test_dates(typed, moment):
    assert cell("created_at", typed)["created_at"] == dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC)


@pytest.mark.parametrize("typed", [
    "07/30/2025", "10-31-2025", "10/31/25 2:30 PM", "03/04/2025 02:30 PM"])
def test_american_dates_are_rejects_that_say_so(typed):
    column, code, message = cell("created_at", typed)
    assert (column, code, "américaine" in message) == ("created_at", "validation_failed", True)


@pytest.mark.parametrize("typed", [
    "hier", "2025", "1111111111111111111", "2025-W01-1", "2025-01-01x10", "31/13/2025", "32/01/2025", "29/02/2025",
    "2025-02-30", "2025-13-01", "31/10/2025 25:00", "31/10/2025 14:60", "infinity", "-infinity", "99999-01-01", "31/10",
    "31/10-2025", "٣١/١٠/٢٠٢٥", "2025-10-31T14:30+99:00", "0000-01-01", "0001-01-01T00:00+23:59", "1" * 100_000,
    "31/10/2025" + " " * 100_000 + "x", "31/10/2025 à"])
def test_what_is_no_date_is_a_reject(typed):
    column, code, message = cell("created_at", typed)
    assert (column, code, "31/10/2025" in message) == ("created_at", "validation_failed", True)


def test_the_assumptions_are_named():
    said = " ".join(Reading("name,created_at\nA,03/04/25\nB,45961\nC,2025-01-01T00:00Z\n").understood["assumptions"])
    for words in ("day/month/year", "two digits", "spreadsheet's dates", "UTC", "blank cells say nothing"):
        assert words in said
    assert "day/month/year" not in " ".join(Reading("name,created_at\nA,2025-04-03\n").understood["assumptions"])


# --- other values ---

@pytest.mark.parametrize(("typed", "tags"), [
    ("vip, flotte", ["vip", "flotte"]), ("vip; flotte", ["vip", "flotte"]), ("vip|flotte|", ["vip", "flotte"]),
    ("vip", ["vip"]), ("[vip, flotte]", ["vip", "flotte"]), ("['vip', \"flotte\"]", ["vip", "flotte"]),
    ('["vip","à, b"]', ["vip", "à, b"]), ('{"vip", "flotte"}', ["vip", "flotte"]), ("{vip,a b }", ["vip", "a b"]),
    ("{}", []), ("[]", []), (" vip , vip ", ["vip"])])
def test_tags(typed, tags):
    assert cell("tags", typed)["tags"] == tags


@pytest.mark.parametrize("typed", ["{vip", "[vip", "{{a}}", '["a", 1]', "{NULL}", "{a" + " " * 100_000 + "b",
                                   "{" + " " * 100_000, '{"' + "\\" * 100_001])
def test_broken_tags(typed):
    assert cell("tags", typed)[:2] == ("tags", "validation_failed")


@pytest.mark.parametrize(("typed", "level"), [
    ("80", 80), ("80.0", 80), ("80,0", 80), ("80 %", 80), ("80%", 80), ("80,00\u00a0%", 80), (" 7 ", 7), ("0", 0)])
def test_levels(typed, level):
    assert cell("interest_level", typed)["interest_level"] == level


@pytest.mark.parametrize("typed", ["80,5", "80.5 %", "101", "-1", "1_0", "٧", "8 0", "1" * 100_000, "%", "80,0,0"])
def test_what_is_no_level(typed):
    assert cell("interest_level", typed)[:2] == ("interest_level", "validation_failed")


def test_a_level_in_json():
    assert Reading('{"name": "A", "interest_level": 80.0}').leads["A"]["interest_level"] == 80
    assert Reading('{"name": "A", "interest_level": 80.5}').faults


@pytest.mark.parametrize(("typed", "email", "kept"), [
    ("a@example.com", "a@example.com", False), (" a@example.com ", "a@example.com", False),
    ("mailto:a@example.com", "a@example.com", False), ("MAILTO:a@example.com?subject=x", "a@example.com", True),
    ("a@example.com.", "a@example.com", False), ("a@example.com,", "a@example.com", False),
    ("<a@example.com>", "a@example.com", False), ("Zoé Roy <a@example.com>", "a@example.com", True),
    ('"Roy, Zoé" <a@example.com>', "a@example.com", True), ("a@example.com; b@example.com", "a@example.com", True),
    ("a@example.com, b@example.com", "a@example.com", True), ("a@example.com b@example.com", "a@example.com", True),
    ("a@example.com / b@example.com", "a@example.com", True), ("a@example.com\nb@example.com", "a@example.com", True),
    ("a@example.com (bureau)", "a@example.com", True), ("l'ami@example.com", "l'ami@example.com", False),
    ("'a@example.com'", "a@example.com", False)])
def test_emails(typed, email, kept):
    lead = cell("email", typed)
    assert (lead["email"], lead["notes"]) == (email, {"legacy_email": typed} if kept else {})


@pytest.mark.parametrize("typed", ["néant", "@", "a@", "a b", "a" * 100_000, "a," * 50_000, "@" * 100_000])
def test_what_is_no_email(typed):
    assert cell("email", typed)[:2] == ("email", "validation_failed")


def test_a_note_s_own_key_is_never_overwritten():
    assert Reading("name,notes,text\nA,hello,other\n").faults[0][:2] == ("notes", "validation_failed")


# --- JSON ---

def test_joined_arrays_and_what_stands_behind_one():
    assert set(Reading('[{"name": "A"}]\n\ufeff[\n{"name": "B"}]\n').leads) == {"A", "B"}
    for text in ('[{"name": "A"}] {"name": "B"}', '[{"name": "A"}', '[{"name": "A"}]]', '[{"name": "A"} x]'):
        with pytest.raises(SourceError):
            Reading(text)


def test_a_large_item_among_small_ones_takes_time_in_proportion():
    import time

    def seconds(size):
        text = json.dumps([{"name": "A", "notes": {"text": "x" * size}}, *[{"name": "B"}] * (size // 100)])
        started = time.process_time()
        assert sum(1 for _ in read(io.BytesIO(text.encode())).rows) == size // 100 + 1
        return time.process_time() - started

    assert seconds(2_000_000) < 12 * max(seconds(400_000), 0.02)  # 5 in theory, 25 when it is quadratic


def test_lines_of_json_items_are_right():
    source = read(io.BytesIO(b'[\n{"name":\n"A"},\n\n{"name": "B"}, 3,\n{"name": "C"}]'))
    assert [row.line for row in source.rows] == [2, 5, 5, 6]
