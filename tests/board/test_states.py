"""Empty, loading, slow, offline and refused are states of their own, never a blank page."""

import re

import pytest

from real.postgres import database_setting, sql
from real.salesperson import FEED, card, choose_column, column, held, link_of, panel

expect = pytest.importorskip("playwright.sync_api", reason="Chromium needs tests/board/requirements.txt").expect
FIGURES = re.compile("/leads/stats")
UNAVAILABLE = {"status": 503, "content_type": "application/json", "body": '{"success": false, "detail": "Non."}'}


def test_empty_it_offers_an_import_and_a_first_lead(board, api):
    board.goto("/board")
    expect(board.get_by_role("heading", name="Aucun lead pour l'instant")).to_be_visible()
    expect(board.get_by_role("link", name="Importer une liste")).to_be_visible()
    board.get_by_role("button", name="Créer un premier lead").click()
    board.get_by_label("Nom *").fill("Zoé Blanc")
    board.get_by_role("dialog").get_by_role("button", name="Créer").click()
    expect(card(column(board, "Nouveau"), "Zoé Blanc")).to_be_visible()


def test_loading_and_slow_are_said(board, api):
    api.make(name="Zoé Blanc")
    with held(board, re.compile(r"/leads/\?")):
        board.goto("/board")
        expect(column(board, "Nouveau")).to_contain_text("Chargement…")
        expect(board.get_by_text("Le service met plus de temps que d'habitude…")).to_be_visible()
    expect(card(board, "Zoé Blanc")).to_be_visible()
    expect(board.get_by_text("Le service met plus de temps que d'habitude…")).to_have_count(0)
    expect(board.get_by_text("Chargement…")).to_have_count(0)


def test_offline_is_said_and_what_was_typed_stays(board, api):
    lead = api.make(name="Zoé Blanc", city="Aix")
    board.goto("/board")
    link_of(board, "Zoé Blanc").click()
    expect(panel(board, "Zoé Blanc").get_by_label("Ville")).to_have_value("Aix")
    board.context.set_offline(True)
    expect(board.get_by_role("alert").filter(has_text="Connexion perdue.")).to_be_visible()
    choose_column(board, "Zoé Blanc", "Contacté")
    expect(board.get_by_text("Refusé : Le service ne répond pas.")).to_be_visible()
    expect(card(column(board, "Nouveau"), "Zoé Blanc")).to_be_visible()
    city = panel(board, "Zoé Blanc").get_by_label("Ville")
    city.fill("Arles")
    city.blur()
    expect(city).to_have_accessible_description(re.compile("Le service ne répond pas"))
    expect(city).to_have_value("Arles")
    api.make(name="Ana Silva")
    board.context.set_offline(False)
    expect(board.get_by_text("La connexion est rétablie.")).to_be_visible()
    expect(board.get_by_role("alert").filter(has_text="Connexion perdue.")).to_have_count(0)
    expect(card(board, "Ana Silva")).to_be_visible()
    city.focus()
    city.blur()
    expect(board.get_by_text("Ville : enregistré.")).to_be_visible()
    assert api.get(f"/leads/{lead['id']}").data["city"] == "Arles"


def test_a_column_stays_where_one_has_scrolled_to_when_the_line_is_back(board, api):
    api.call("POST", "/leads/bulk", {"items": [{"op": "create", "data": {"name": f"Lead {n}"}} for n in range(30)]})
    board.goto("/board")
    first = link_of(board, "Lead 0")
    first.scroll_into_view_if_needed()
    board.context.set_offline(True)
    expect(board.get_by_role("alert").filter(has_text="Connexion perdue.")).to_be_visible()
    board.context.set_offline(False)
    expect(column(board, "Nouveau").get_by_role("list")).to_have_attribute("aria-busy", "false")
    expect(board.get_by_text("La connexion est rétablie.")).to_be_visible()
    board.wait_for_timeout(500)
    expect(first).to_be_in_viewport()


def test_cards_stay_while_their_figures_are_not_to_be_had(board, api):
    api.make(name="Zoé Blanc")
    board.route(FIGURES, lambda route: route.fulfill(**UNAVAILABLE), times=1)
    with board.expect_response(FIGURES) as refused:
        board.goto("/board")
    assert refused.value.status == 503
    expect(column(board, "Nouveau").get_by_role("heading")).to_have_text("Nouveau 1")
    expect(card(column(board, "Nouveau"), "Zoé Blanc")).to_be_visible()


def test_cards_of_what_was_asked_before_do_not_stay_for_what_is_asked_now(board, api):
    """Grouped by owner the columns come with the figures: without them nothing of this search is known."""
    api.make(name="Zoé Blanc", owner="Claire")
    board.goto("/board?by=owner")
    expect(card(column(board, "Claire"), "Zoé Blanc")).to_be_visible()
    board.route(FIGURES, lambda route: route.fulfill(**UNAVAILABLE))
    board.get_by_role("searchbox").fill("personne")
    expect(board.get_by_role("alert")).to_contain_text("Ceci n'a pas pu être chargé.")
    expect(card(board, "Zoé Blanc")).to_have_count(0)


def test_a_lead_stays_while_its_history_is_not_to_be_had(board, api):
    api.make(name="Zoé Blanc", city="Aix")
    board.goto("/board")
    board.route("**/history?*", lambda route: route.abort())
    link_of(board, "Zoé Blanc").click()
    lead = panel(board, "Zoé Blanc")
    expect(lead.get_by_role("button", name="Réessayer")).to_be_visible()
    expect(lead.get_by_label("Ville")).to_have_value("Aix")
    expect(lead.get_by_text("Création")).to_have_count(0)
    board.unroute("**/history?*")
    lead.get_by_role("button", name="Réessayer").click()
    expect(lead.get_by_text("Création")).to_be_visible()
    expect(lead.get_by_role("button", name="Réessayer")).to_have_count(0)


def test_what_cannot_be_shown_says_why_and_is_tried_again(board, api, db_url):
    api.make(name="Zoé Blanc")
    board.goto("/board?view=table&created_from=hier")
    expect(board.get_by_role("alert")).to_contain_text("Créé du")
    board.goto("/board")
    expect(card(board, "Zoé Blanc")).to_be_visible()


def test_a_database_that_is_away_and_comes_back(board, api, db_url):
    api.make(name="Zoé Blanc")
    with database_setting(db_url, "search_path", "pg_catalog"):
        board.goto("/board")
        expect(board.get_by_role("alert")).to_contain_text("Ceci n'a pas pu être chargé.")
        expect(board.get_by_role("alert")).to_contain_text("momentanément indisponible")
    board.get_by_role("button", name="Réessayer").click()
    expect(card(board, "Zoé Blanc")).to_be_visible()


def test_changes_that_are_kept_no_more_are_no_failure(board, api, db_url):
    """The history was purged behind an open page: it lists again."""
    api.make(name="Zoé Blanc")
    board.goto("/board")
    expect(card(board, "Zoé Blanc")).to_be_visible()
    with held(board, FEED):
        api.make(name="Ana Silva")
        sql(db_url, "DELETE FROM leads_history")
    expect(card(board, "Ana Silva")).to_be_visible()
