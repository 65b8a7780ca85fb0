"""Figures, each of them a link to the list that proves it."""

import re

import pytest

from real.postgres import sql

expect = pytest.importorskip("playwright.sync_api", reason="Chromium needs tests/board/requirements.txt").expect


@pytest.fixture
def figures(board, api):
    """The figures of some leads."""
    for number in range(12):
        stage = ("new", "new", "contacted", "proposal", "won", "lost")[number % 6]
        lead = api.make(name=f"Lead {number}", stage=stage, source=("web", "salon", None)[number % 3],
                        owner=("Alice", None)[number % 2],
                        notes={"estimated_value": 100, "next_step_date": "2020-01-01"} if number % 4 else {})
        if stage == "won":
            api.call("PATCH", f"/leads/{lead['id']}", {"status": "converti"})
    board.goto("/board?view=figures")
    expect(board.get_by_role("table").first).to_be_visible()
    return board


def test_every_number_is_the_count_of_the_list_that_it_leads_to(figures, api):
    links = figures.get_by_role("cell").get_by_role("link").evaluate_all(
        "links => links.map((link) => [link.textContent, link.getAttribute('href')])")
    assert len(links) > 30
    for text, href in links:
        query = href.partition("?")[2].replace("view=table", "").strip("&").replace("&&", "&")
        assert api.get(f"/leads/?{query}&count=exact&limit=1").json["total"] == int(text), href


def test_such_a_list_is_shown(figures):
    row = figures.get_by_role("region", name="Pipeline").get_by_role("row", name="Nouveau")
    row.get_by_role("link").first.click()
    expect(figures.get_by_text("4 en tout")).to_be_visible()
    figures.go_back()
    figures.get_by_role("region", name="Par responsable").get_by_role("row", name="Sans responsable")\
        .get_by_role("link").first.click()
    expect(figures.get_by_text("6 en tout")).to_be_visible()


def test_the_pipeline_from_one_stage_to_the_next(figures):
    table = figures.get_by_role("region", name="Pipeline")
    # Six were contacted, four of them came to a proposal, two of those further; the two lost ones are nowhere.
    expect(table.get_by_role("row", name="Devis envoyé")).to_contain_text("67 %")
    expect(figures.get_by_role("img", name="Pipeline")).to_contain_text("2 (50 %)")
    for title in ("Pipeline", "Créés par mois, et gagnés"):
        expect(figures.get_by_role("img", name=title)).to_be_visible()
    expect(figures.get_by_text(re.compile("Jours jusqu'à la conversion.* :"))).to_contain_text("0 – 0")


def test_filters_hold_for_the_figures_too(figures):
    figures.goto("/board?view=figures&owner=Alice")
    expect(figures.get_by_role("region", name="Par responsable").get_by_role("rowheader")).to_have_text(["Alice"])


def test_days_of_many_leads_are_said_to_be_a_sample_s(board, db_url):
    sql(db_url, "INSERT INTO leads (name) SELECT 'x' FROM generate_series(1, 10001)")
    board.goto("/board?view=figures")
    expect(board.get_by_text(re.compile("Jours d'un échantillon de [0-9\u202f]+ leads"))).to_be_visible()
