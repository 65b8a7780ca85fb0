"""Leads are moved by mouse, menu and keyboard; what is refused, or changed by others meanwhile, is told."""

import contextlib

import pytest

from real.postgres import database_setting
from real.salesperson import FEED, card, choose_column, column, held, link_of, names_in, panel

expect = pytest.importorskip("playwright.sync_api", reason="Chromium needs tests/board/requirements.txt").expect


@pytest.fixture
def lead(api, board):
    """A new lead, on the board."""
    made = api.make(name="Zoé Blanc", email="zoe@example.com", city="Aix")
    board.goto("/board")
    expect(card(column(board, "Nouveau"), "Zoé Blanc")).to_be_visible()
    return made


def now(api, lead):
    """The lead as the service has it."""
    return api.get(f"/leads/{lead['id']}").data


def is_moved(board, api, lead, name, stage):
    expect(board.get_by_text(f"Zoé Blanc est dans {name}.")).to_be_visible()
    expect(card(column(board, name), "Zoé Blanc")).to_be_visible()
    expect(card(column(board, "Nouveau"), "Zoé Blanc")).to_have_count(0)
    assert now(api, lead)["stage"] == stage


def test_by_the_mouse(board, api, lead):
    card(board, "Zoé Blanc").drag_to(column(board, "Devis envoyé"))
    is_moved(board, api, lead, "Devis envoyé", "proposal")
    expect(column(board, "Devis envoyé").get_by_role("heading")).to_have_text("Devis envoyé 1")


def test_by_the_menu_of_the_card(board, api, lead):
    choose_column(board, "Zoé Blanc", "Négociation")
    is_moved(board, api, lead, "Négociation", "negotiation")
    expect(board.get_by_role("status").filter(has_text="est dans Négociation")).to_have_count(1)


def press_until_on(page, name, key="Tab"):
    for _ in range(60):
        page.keyboard.press(key)
        if page.evaluate("(document.activeElement.ariaLabel ?? document.activeElement.textContent).trim()") == name:
            return
    pytest.fail(f"{key} never comes to {name}")


def test_by_the_keyboard_alone(board, api, lead):
    press_until_on(board, "Déplacer Zoé Blanc vers…")
    board.keyboard.press("Enter")
    press_until_on(board, "Contacté")
    board.keyboard.press("Enter")
    is_moved(board, api, lead, "Contacté", "contacted")
    expect(link_of(board, "Zoé Blanc")).to_be_focused()
    board.keyboard.press("Enter")
    expect(panel(board, "Zoé Blanc")).to_be_focused()
    board.keyboard.press("Escape")
    expect(panel(board, "Zoé Blanc")).to_have_count(0)
    expect(link_of(board, "Zoé Blanc")).to_be_focused()
    press_until_on(board, "Annuler")
    board.keyboard.press("Enter")
    expect(card(column(board, "Nouveau"), "Zoé Blanc")).to_be_visible()


def test_it_is_on_screen_before_the_service_has_answered(board, api, lead):
    with held(board, f"**/leads/{lead['id']}"):
        choose_column(board, "Zoé Blanc", "Contacté")
        expect(card(column(board, "Contacté"), "Zoé Blanc")).to_be_visible()
        assert now(api, lead)["stage"] == "new"
    is_moved(board, api, lead, "Contacté", "contacted")


def test_what_is_refused_is_taken_back_with_its_sentence(board, api, lead, db_url):
    expect(card(board, "Zoé Blanc")).to_be_visible()  # read before the database is
    with database_setting(db_url, "default_transaction_read_only", "on"):
        choose_column(board, "Zoé Blanc", "Contacté")
        expect(board.get_by_role("status").filter(has_text="Refusé : Le service est momentanément indisponible"))\
            .to_be_visible()
        expect(card(column(board, "Nouveau"), "Zoé Blanc")).to_be_visible()
        expect(card(column(board, "Contacté"), "Zoé Blanc")).to_have_count(0)
    assert now(api, lead) == lead


def test_annuler_takes_a_move_back(board, api, lead):
    choose_column(board, "Zoé Blanc", "Contacté")
    board.get_by_role("button", name="Annuler").click()
    expect(board.get_by_text("C'est annulé.")).to_be_visible()
    assert names_in(column(board, "Nouveau")) == ["Zoé Blanc"]
    assert now(api, lead)["stage"] == "new"


@pytest.mark.parametrize("is_seen", [False, True], ids=["unseen", "seen"])
def test_annuler_takes_back_ones_own_change_and_no_other(board, api, lead, is_seen):
    choose_column(board, "Zoé Blanc", "Contacté")
    expect(board.get_by_role("button", name="Annuler")).to_be_visible()
    with contextlib.nullcontext() if is_seen else held(board, FEED):
        api.call("PATCH", f"/leads/{lead['id']}", {"tags": ["vip"]})
        if is_seen:
            expect(card(board, "Zoé Blanc")).to_contain_text("vip")
        board.get_by_role("button", name="Annuler").click()
        expect(board.get_by_text("C'est annulé.")).to_be_visible()
    expect(card(column(board, "Nouveau"), "Zoé Blanc")).to_contain_text("vip")
    assert (now(api, lead)["stage"], now(api, lead)["tags"]) == ("new", ["vip"])


def test_a_lost_lead_is_asked_why_which_one_may_leave_out(board, api, lead):
    choose_column(board, "Zoé Blanc", "Perdu")
    board.get_by_label("Raison (facultative)").fill("Trop cher")
    board.get_by_role("dialog").get_by_role("button", name="Perdu", exact=True).click()
    expect(board.get_by_text("Zoé Blanc est dans Perdu.")).to_be_visible()
    lost = now(api, lead)
    assert (lost["stage"], lost["status"], lost["notes"]["lost_reason"]) == ("lost", "archived", "Trop cher")
    other = api.make(name="Ana Silva")
    expect(card(board, "Ana Silva")).to_be_visible()
    choose_column(board, "Ana Silva", "Perdu")
    board.get_by_role("button", name="Sans raison").click()
    expect(board.get_by_text("Ana Silva est dans Perdu.")).to_be_visible()
    assert "lost_reason" not in now(api, other)["notes"]


def test_a_won_lead_may_become_a_client(board, api, lead):
    choose_column(board, "Zoé Blanc", "Gagné")
    board.get_by_role("button", name="Convertir en client").click()
    expect(board.get_by_text("Zoé Blanc est converti en client.")).to_be_visible()
    won = now(api, lead)
    assert (won["stage"], won["status"]) == ("won", "converti")
    assert won["client_id"]
    other = api.make(name="Ana Silva")
    expect(card(board, "Ana Silva")).to_be_visible()
    choose_column(board, "Ana Silva", "Gagné")
    board.get_by_role("button", name="Seulement gagné").click()
    expect(board.get_by_text("Ana Silva est dans Gagné.")).to_be_visible()
    assert (now(api, other)["stage"], now(api, other)["client_id"]) == ("won", None)


# Two browsers at once.

@pytest.fixture
def other(visit, lead):
    """The board in another browser, with the same lead."""
    page = visit()
    page.goto("/board")
    expect(card(column(page, "Nouveau"), "Zoé Blanc")).to_be_visible()
    return page


def in_the_panel(page, field, value):
    """Open the lead's panel, where it is not, and change a field."""
    if not panel(page, "Zoé Blanc").is_visible():
        link_of(page, "Zoé Blanc").click()
    box = panel(page, "Zoé Blanc").get_by_label(field, exact=True)
    box.fill(value)
    box.blur()


def test_changes_of_different_fields_are_merged(board, other, api, lead):
    link_of(board, "Zoé Blanc").click()
    expect(panel(board, "Zoé Blanc").get_by_label("Ville")).to_have_value("Aix")
    with held(board, FEED), board.expect_response(lambda answer: answer.status == 412):
        in_the_panel(other, "Ville", "Arles")
        expect(other.get_by_text("Ville : enregistré.")).to_be_visible()
        in_the_panel(board, "Société", "ACME")
    expect(board.get_by_text("Société : enregistré.")).to_be_visible()
    assert (now(api, lead)["city"], now(api, lead)["company"]) == ("Arles", "ACME")
    expect(panel(board, "Zoé Blanc").get_by_label("Ville")).to_have_value("Arles")
    expect(panel(other, "Zoé Blanc").get_by_label("Société", exact=True)).to_have_value("ACME")


@pytest.mark.parametrize(("choice", "city"), [("Garder la vôtre", "Nîmes"), ("Garder l'autre", "Arles")])
def test_of_two_changes_of_one_field_the_person_chooses(board, other, api, lead, choice, city):
    link_of(board, "Zoé Blanc").click()
    expect(panel(board, "Zoé Blanc").get_by_label("Ville")).to_have_value("Aix")
    with held(board, FEED), board.expect_response(lambda answer: answer.status == 412):
        in_the_panel(other, "Ville", "Arles")
        expect(other.get_by_text("Ville : enregistré.")).to_be_visible()
        in_the_panel(board, "Ville", "Nîmes")
    asked = board.get_by_role("dialog", name="Modifié en même temps")
    expect(asked.get_by_role("row", name="Ville")).to_have_text("VilleNîmesArles")
    asked.get_by_role("button", name=choice).click()
    expect(panel(board, "Zoé Blanc").get_by_label("Ville")).to_have_value(city)
    expect(panel(other, "Zoé Blanc").get_by_label("Ville")).to_have_value(city)
    assert now(api, lead)["city"] == city
