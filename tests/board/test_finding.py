"""Search, filters in the address, and the views that a person keeps."""

import re

import pytest

from real.salesperson import card, link_of, names_in

expect = pytest.importorskip("playwright.sync_api", reason="Chromium needs tests/board/requirements.txt").expect


@pytest.fixture
def three(board, api):
    """The board with three leads."""
    api.make(name="Hélène Müller", owner="Alice", tags=["vip"])
    api.make(name="Ana Silva", owner="Bruno", stage="contacted", phone="06 12 34 56 78")
    api.make(name="Bob Roux", owner="Alice", stage="proposal", company="Silva & Fils")
    board.goto("/board")
    expect(card(board, "Bob Roux")).to_be_visible()
    return board


def test_a_search_as_one_types(three):
    three.get_by_role("searchbox").press_sequentially("helene")
    expect(card(three, "Ana Silva")).to_have_count(0)
    expect(card(three, "Hélène Müller")).to_be_visible()
    expect(three).to_have_url(re.compile(r"/board\?q=helene$"))  # a part of it may have been searched for first
    three.get_by_role("searchbox").fill("silva")
    expect(card(three, "Bob Roux")).to_be_visible()
    expect(card(three, "Ana Silva")).to_be_visible()
    expect(card(three, "Hélène Müller")).to_have_count(0)
    three.get_by_role("searchbox").fill("06 12 34")
    expect(card(three, "Bob Roux")).to_have_count(0)
    assert names_in(three) == ["Ana Silva"]
    three.get_by_role("searchbox").fill("")
    expect(card(three, "Hélène Müller")).to_be_visible()


def test_what_changes_while_a_search_is_on_its_way_is_not_missed(three, api):
    def answer_of_before(route):
        answer = route.fetch()
        api.make(name="Carla Silva")
        route.fulfill(response=answer)

    three.route("**/leads/?q=silva&stage=new&*", answer_of_before, times=1)
    three.get_by_role("searchbox").fill("silva")
    expect(card(three, "Hélène Müller")).to_have_count(0)
    expect(card(three, "Carla Silva")).to_be_visible()


def test_filters_stand_in_the_address_and_can_be_sent_on(three, visit):
    three.get_by_text("Filtres", exact=True).click()
    three.get_by_label("Responsable", exact=True).fill("Alice")
    three.get_by_label("Étiquette", exact=True).fill("vip")
    three.get_by_label("Étiquette", exact=True).blur()
    expect(card(three, "Bob Roux")).to_have_count(0)
    expect(three.get_by_text("Filtres (2)")).to_be_visible()
    assert sorted(three.url.partition("?")[2].split("&")) == ["owner=Alice", "tag=vip"]
    other = visit()
    other.goto(three.url)
    expect(card(other, "Hélène Müller")).to_be_visible()
    assert names_in(other) == ["Hélène Müller"]
    other.get_by_role("link", name=re.compile("^Étiquette : vip")).click()
    expect(card(other, "Bob Roux")).to_be_visible()
    assert other.url.endswith("?owner=Alice")
    other.go_back()
    expect(card(other, "Bob Roux")).to_have_count(0)


def test_a_view_has_a_name_and_is_kept_in_the_browser(three):
    three.goto("/board?owner=Alice&view=table")
    three.get_by_text("Vues", exact=True).click()
    three.get_by_label("Nom de la vue").fill("Les leads d'Alice")
    three.get_by_role("button", name="Enregistrer cette vue").click()
    three.goto("/board")
    three.get_by_text("Vues", exact=True).click()
    three.get_by_role("link", name="Les leads d'Alice").click()
    expect(three.get_by_text("2 en tout")).to_be_visible()
    assert "owner=Alice" in three.url
    three.get_by_role("button", name="Supprimer la vue Les leads d'Alice").click()
    expect(three.get_by_text("Aucune vue enregistrée dans ce navigateur.")).to_be_visible()


def test_nothing_found_is_said_with_a_way_out(three):
    three.goto("/board?view=table&q=zzzz")
    expect(three.get_by_text("Aucun lead ne correspond.")).to_be_visible()
    three.get_by_role("main").get_by_role("link", name="Enlever les filtres").click()
    expect(link_of(three, "Bob Roux").or_(three.get_by_role("link", name="Bob Roux"))).to_be_visible()
