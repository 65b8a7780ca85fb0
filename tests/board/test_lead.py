"""A lead beside the board: edited in place, with its activities, its next step and its history."""

import datetime as dt
import re

import pytest

from real.salesperson import card, link_of, panel

expect = pytest.importorskip("playwright.sync_api", reason="Chromium needs tests/board/requirements.txt").expect


@pytest.fixture
def lead(api):
    return api.make(name="Zoé Blanc", email="zoe@example.com", phone="06 12 34 56 78", city="Aix")


@pytest.fixture
def beside(board, lead):
    """The lead's panel, come to by its own address."""
    board.goto(f"/board?lead={lead['id']}")
    expect(panel(board, "Zoé Blanc").get_by_role("heading", name="Zoé Blanc")).to_be_visible()
    return panel(board, "Zoé Blanc")


def now(api, lead):
    return api.get(f"/leads/{lead['id']}").data


def fill(place, field, value):
    """Type into a field and leave it."""
    box = place.get_by_label(field, exact=True)
    box.fill(value)
    box.blur()


def test_it_is_edited_in_place_and_saved_on_leaving_a_field(board, beside, api, lead):
    fill(beside, "Ville", "Arles")
    expect(board.get_by_text("Ville : enregistré.")).to_be_visible()
    fill(beside, "Étiquettes", "vip, relance")
    expect(board.get_by_text("Étiquettes : enregistré.")).to_be_visible()
    fill(beside, "Valeur estimée (€)", "1200.5")
    expect(board.get_by_text("Valeur estimée (€) : enregistré.")).to_be_visible()
    fill(beside, "Téléphone", "07 98 76 54 32")
    expect(beside.get_by_label("Téléphone")).to_have_value("+33798765432")
    assert (now(api, lead)["city"], now(api, lead)["tags"]) == ("Arles", ["vip", "relance"])
    assert now(api, lead)["notes"] == {"estimated_value": 1200.5}
    expect(card(board, "Zoé Blanc")).to_contain_text("vip")


def test_what_notes_keep_under_other_names_is_read(board, beside, api, lead):
    others = beside.get_by_role("heading", name="Autres informations")
    expect(others).to_have_count(0)
    notes = {"Montant": "1.500", "legacy_status": "Chaud", "call": "oui", "Options": {"gaz": True},
             "text": "Vue au salon", "merged": [], "Vide": ""}
    assert api.call("PATCH", f"/leads/{lead['id']}", {"notes": notes}).status == 200
    expect(others).to_be_visible()
    names, values = beside.get_by_role("term"), beside.get_by_role("definition")
    expect(names).to_have_text(["call", "Montant", "Options", "Statut d'origine"])
    expect(values).to_have_text(["oui", "1.500", '{"gaz":true}', "Chaud"])
    expect(beside.get_by_label("Remarques")).to_have_value("Vue au salon")


def test_what_is_refused_is_said_at_its_field_and_stays_typed(board, beside, api, lead):
    fill(beside, "E-mail", "zoe@@example")
    box = beside.get_by_role("textbox", name="E-mail")
    expect(box).to_have_attribute("aria-invalid", "true")
    expect(box).to_have_accessible_description(re.compile("Adresse e-mail invalide"))
    expect(box).to_have_value("zoe@@example")
    assert now(api, lead) == lead
    box.press("Escape")
    expect(box).to_have_value("zoe@example.com")
    expect(beside).to_be_visible()


def test_it_is_called_and_written_to(beside):
    assert beside.locator("a[href='tel:+33612345678']").is_visible()
    assert beside.locator("a[href='mailto:zoe@example.com']").is_visible()


def test_an_activity_is_logged(board, beside, api, lead):
    beside.get_by_label("Nature").select_option("Appel")
    beside.get_by_label("Que s'est-il passé ?").fill("Rappeler lundi")
    beside.get_by_role("button", name="Noter une activité").click()
    expect(board.get_by_text("L'activité est notée.")).to_be_visible()
    expect(beside.get_by_role("listitem").filter(has_text="Rappeler lundi").filter(has_text="Appel")).to_be_visible()
    expect(beside.get_by_label("Que s'est-il passé ?")).to_have_value("")
    [made] = now(api, lead)["activities"]
    assert (made["type"], made["text"]) == ("call", "Rappeler lundi")


def test_a_next_step_is_set(board, beside, api, lead):
    day = str(dt.date.today() - dt.timedelta(1))
    fill(beside, "Prochaine étape le", day)
    expect(board.get_by_text("Prochaine étape le : enregistré.")).to_be_visible()
    fill(beside, "Prochaine étape", "Envoyer le devis")
    expect(board.get_by_text("Prochaine étape : enregistré.")).to_be_visible()
    expect(card(board, "Zoé Blanc")).to_contain_text("Envoyer le devis")
    expect(card(board, "Zoé Blanc")).to_contain_text("(en retard)")
    assert now(api, lead)["notes"] == {"next_step_date": day, "next_step_note": "Envoyer le devis"}


def test_its_history_and_back_to_what_it_was(board, beside, api, lead):
    for city in ("Arles", "Nîmes"):
        fill(beside, "Ville", city)
        expect(beside.get_by_role("listitem").filter(has_text=re.compile(f"→ {city}")).last).to_be_visible()
    changes = beside.get_by_role("button", name=re.compile("^Revenir à l'état"))
    expect(changes).to_have_count(2)  # after Arles, and as it was created
    changes.last.click()
    expect(beside.get_by_label("Ville")).to_have_value("Aix")
    assert now(api, lead)["city"] == "Aix"
    expect(changes).to_have_count(3)


def test_from_one_to_the_next_and_back(board, api, lead):
    api.make(name="Ana Silva")
    board.goto("/board")
    link_of(board, "Ana Silva").click()
    panel(board, "Ana Silva").get_by_role("link", name="Suivant").click()
    expect(panel(board, "Zoé Blanc")).to_be_visible()
    assert board.url.endswith(f"/board?lead={lead['id']}")
    panel(board, "Zoé Blanc").get_by_role("link", name="Précédent").click()
    expect(panel(board, "Ana Silva")).to_be_visible()
    board.go_back()
    expect(panel(board, "Zoé Blanc")).to_be_visible()
    panel(board, "Zoé Blanc").get_by_role("link", name="Fermer").click()
    expect(panel(board, "Zoé Blanc")).to_have_count(0)
    assert board.url.endswith("/board")


def test_it_is_deleted_and_brought_back(board, beside, api, lead):
    beside.get_by_role("button", name="Supprimer").click()
    board.get_by_role("dialog").get_by_role("button", name="Supprimer").click()
    expect(board.get_by_text("Zoé Blanc est supprimé.")).to_be_visible()
    expect(card(board, "Zoé Blanc")).to_have_count(0)
    assert api.get(f"/leads/{lead['id']}").status == 404
    board.get_by_role("button", name="Annuler").click()
    expect(card(board, "Zoé Blanc")).to_be_visible()
    assert now(api, lead)["email"] == "zoe@example.com"


def test_one_that_is_gone_says_so(board, api, lead):
    api.call("DELETE", f"/leads/{lead['id']}")
    board.goto(f"/board?lead={lead['id']}")
    expect(board.get_by_text("Ce lead n'existe pas ou plus.")).to_be_visible()
