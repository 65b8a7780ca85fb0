"""What others do arrives by itself, and never under one's hands."""

import pytest

from real.salesperson import card, choose_column, column, link_of, panel

expect = pytest.importorskip("playwright.sync_api", reason="Chromium needs tests/board/requirements.txt").expect


def test_others_changes_arrive(board, api, visit):
    first, second = api.make(name="Zoé Blanc"), api.make(name="Ana Silva")
    board.goto("/board")
    expect(card(board, "Zoé Blanc")).to_be_visible()
    other = visit()
    other.goto("/board")
    choose_column(other, "Zoé Blanc", "Négociation")
    api.make(name="Bob Roux", stage="proposal")
    api.call("DELETE", f"/leads/{second['id']}")
    expect(card(column(board, "Négociation"), "Zoé Blanc")).to_be_visible()
    expect(card(column(board, "Devis envoyé"), "Bob Roux")).to_be_visible()
    expect(card(board, "Ana Silva")).to_have_count(0)
    expect(column(board, "Négociation").get_by_role("heading")).to_have_text("Négociation 1")
    assert api.get(f"/leads/{first['id']}/history").data[0]["fields"]["stage"]["new"] == "negotiation"


def test_what_is_being_typed_is_never_replaced(board, api):
    lead = api.make(name="Zoé Blanc", city="Aix", company="ACME")
    board.goto("/board")
    link_of(board, "Zoé Blanc").click()
    beside = panel(board, "Zoé Blanc")
    beside.get_by_label("Ville").press("End")
    beside.get_by_label("Ville").press_sequentially("-en-Pro")
    api.call("PATCH", f"/leads/{lead['id']}", {"city": "Arles", "company": "Alpha"})
    expect(beside.get_by_label("Société", exact=True)).to_have_value("Alpha")
    expect(beside.get_by_label("Ville")).to_have_value("Aix-en-Pro")
    expect(beside.get_by_label("Ville")).to_be_focused()
    expect(beside.get_by_text("Modifié entre-temps par quelqu'un d'autre : Arles")).to_be_visible()
    beside.get_by_label("Ville").press_sequentially("vence")
    beside.get_by_label("Ville").blur()
    board.get_by_role("dialog").get_by_role("button", name="Garder la vôtre").click()
    expect(board.get_by_text("Ville : enregistré.")).to_be_visible()
    assert api.get(f"/leads/{lead['id']}").data["city"] == "Aix-en-Provence"


def test_it_asks_for_changes_only_while_it_is_seen(board, api):
    board.goto("/board")
    with board.expect_request("**/leads/changes?after=*"):
        pass
    asked = []
    board.on("request", lambda request: asked.append(request.url))
    # A headless browser shows every page; this is what it says of one that is behind another.
    board.evaluate("""() => {
        Object.defineProperty(document, "hidden", { value: true, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    board.wait_for_timeout(2500)
    assert asked == []
    with board.expect_request("**/leads/changes?after=*"):
        board.evaluate("""() => {
            delete document.hidden;
            document.dispatchEvent(new Event("visibilitychange"));
        }""")
