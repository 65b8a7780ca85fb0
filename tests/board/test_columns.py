"""Columns, cards and counts; the groups; the list beside them."""

import datetime as dt

import pytest

from real.salesperson import card, column, link_of, names_in

expect = pytest.importorskip("playwright.sync_api", reason="Chromium needs tests/board/requirements.txt").expect
TODAY = dt.date.today()
STAGES = ["Nouveau", "Contacté", "Devis envoyé", "Négociation", "Gagné", "Perdu"]


def test_columns_by_stage_with_count_sum_and_overdue(board, api):
    api.make(name="Zoé Blanc", notes={"estimated_value": 12000, "next_step_date": str(TODAY - dt.timedelta(3))})
    api.make(name="Ana Silva", notes={"estimated_value": 500.5})
    api.make(name="Bob Roux", stage="contacted")
    board.goto("/board")
    expect(card(board, "Zoé Blanc")).to_be_visible()
    regions = board.get_by_role("main").get_by_role("region").evaluate_all(
        "all => all.map((each) => each.getAttribute('aria-label'))")
    assert regions == STAGES
    new = column(board, "Nouveau")
    expect(new.get_by_role("heading")).to_have_text("Nouveau 2")
    expect(new).to_contain_text("12\u202f501 €")
    expect(new.get_by_role("link", name="1 en retard")).to_be_visible()
    assert names_in(new) == ["Ana Silva", "Zoé Blanc"]
    assert names_in(column(board, "Contacté")) == ["Bob Roux"]
    expect(column(board, "Négociation")).to_contain_text("Aucun lead")


def test_a_card_says_what_one_needs_on_two_lines(board, api):
    api.make(name="Zoé Blanc", company="ACME", owner="Alice Durand", tags=["vip"], notes={
        "estimated_value": 800, "next_step_date": str(TODAY - dt.timedelta(3)), "next_step_note": "Rappeler"})
    board.goto("/board")
    shown = card(board, "Zoé Blanc")
    for text in ("ACME", "AD", "Rappeler", "(en retard)", "800 €", "vip", "0 j"):
        expect(shown).to_contain_text(text)
    assert shown.bounding_box()["height"] < 70


def test_won_and_lost_are_folded_until_somebody_looks(board, api):
    api.make(name="Zoé Blanc", stage="won")
    board.goto("/board")
    won, unfold = column(board, "Gagné"), board.get_by_role("button", name="Déplier Gagné")
    expect(unfold).to_have_attribute("aria-expanded", "false")
    expect(unfold).to_contain_text("1")
    unfold.click()
    expect(card(won, "Zoé Blanc")).to_be_visible()
    board.get_by_role("button", name="Replier Gagné").click()
    expect(card(won, "Zoé Blanc")).to_have_count(0)


def test_thirty_cards_and_more_as_one_scrolls(board, api):
    api.call("POST", "/leads/bulk", {"items": [{"op": "create", "data": {"name": f"Lead {n}"}} for n in range(70)]})
    board.goto("/board")
    cards = column(board, "Nouveau").get_by_role("button", name="vers…")
    expect(cards).to_have_count(30)
    cards.last.scroll_into_view_if_needed()
    expect(cards).to_have_count(60)
    cards.last.scroll_into_view_if_needed()
    expect(cards).to_have_count(70)
    assert sorted(names_in(board)) == sorted(f"Lead {n}" for n in range(70))


def test_columns_by_another_field(board, api):
    api.make(name="Zoé Blanc", owner="Alice", source="salon", segment="Pro")
    api.make(name="Ana Silva")
    board.goto("/board")
    for word, field, value, missing in (("Responsable", "owner", "Alice", "Sans responsable"),
                                        ("Source", "source", "salon", "Sans source"),
                                        ("Segment", "segment", "Pro", "Sans segment")):
        board.get_by_label("Colonnes par").select_option(word)
        expect(card(column(board, value), "Zoé Blanc")).to_be_visible()
        expect(card(column(board, missing), "Ana Silva")).to_be_visible()
        assert f"by={field}" in board.url


def test_the_same_leads_as_a_list(board, api):
    for name, stage in (("Zoé Blanc", "new"), ("Ana Silva", "won"), ("Émile Roux", "lost")):
        api.make(name=name, stage=stage)
    board.goto("/board")
    board.get_by_role("link", name="Liste").click()
    expect(board.get_by_text("3 en tout")).to_be_visible()
    rows = board.get_by_role("table").get_by_role("rowheader")
    expect(rows).to_have_text(["Émile Roux", "Ana Silva", "Zoé Blanc"])
    board.get_by_role("columnheader", name="Nom").get_by_role("link").click()
    expect(rows).to_have_text(["Ana Silva", "Émile Roux", "Zoé Blanc"])
    expect(board.get_by_role("row", name="Ana Silva")).to_contain_text("Gagné")
    board.get_by_role("link", name="Zoé Blanc").click()
    expect(board.get_by_role("complementary", name="Zoé Blanc")).to_be_visible()


def test_overdue_leads_to_the_list_of_them(board, api):
    api.make(name="Zoé Blanc", notes={"next_step_date": str(TODAY - dt.timedelta(1))})
    api.make(name="Ana Silva")
    board.goto("/board")
    board.get_by_role("link", name="1 en retard").click()
    expect(board.get_by_text("1 en tout")).to_be_visible()
    expect(board.get_by_role("rowheader")).to_have_text(["Zoé Blanc"])
    expect(link_of(board, "Ana Silva")).to_have_count(0)
