"""Two languages, light and dark, paper, and a telephone."""

import json

import pytest

from real.salesperson import card, choose_column, column, link_of, panel

expect = pytest.importorskip("playwright.sync_api", reason="Chromium needs tests/board/requirements.txt").expect
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
# Whatever can be touched and is in sight: what it is and its size, where that is less than a finger.
SMALL = """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary")].flatMap((each) => {
    const target = each.type === "file" ? each.closest("label") : each;
    const { width, height, right, bottom } = target.getBoundingClientRect();
    const isSeen = each.checkVisibility({ visibilityProperty: true }) && width > 1 && right > 0 && bottom > 0;
    return isSeen && (width < 44 || height < 44) ? [`${each.outerHTML.slice(0, 90)} ${width} × ${height}`] : [];
})"""
# What is wider than the telephone, but for rows and tables that are scrolled by themselves.
WIDE = """() => [...document.querySelectorAll("body *")].filter((each) => each.checkVisibility() &&
    each.getBoundingClientRect().right > innerWidth + 1 && !each.closest(".unseen, .wide, .filters"))
    .map((each) => each.outerHTML.slice(0, 90))"""


@pytest.fixture
def lead(api):
    api.make(name="Ana Silva", stage="contacted")
    return api.make(name="Zoé Blanc", phone="06 12 34 56 78", tags=["vip"], owner="Alice Durand",
                    notes={"next_step_date": "2020-01-01", "next_step_note": "Rappeler"})


def test_french_or_english_as_one_likes(board, lead):
    board.goto("/board")
    expect(board.locator("html")).to_have_attribute("lang", "fr")
    board.get_by_role("button", name="English").click()
    expect(board.get_by_role("link", name="Open Zoé Blanc")).to_be_visible()
    expect(board.get_by_role("region", name="Contacted")).to_be_visible()
    expect(board.locator("html")).to_have_attribute("lang", "en")
    board.reload()
    expect(board.get_by_role("button", name="New lead")).to_be_visible()
    board.get_by_role("button", name="Français").click()
    expect(link_of(board, "Zoé Blanc")).to_be_visible()


def test_english_for_who_reads_no_french_and_its_refusals_too(visit, api):
    page = visit(locale="en-US")
    page.goto("/board?view=table&tag=")
    expect(page.get_by_role("alert")).to_contain_text("Tag : This field cannot be empty.")


def test_dark_for_who_has_it_dark(board, lead):
    board.goto("/board")
    grounds = []
    for scheme in ("light", "dark"):
        board.emulate_media(color_scheme=scheme)
        grounds.append(board.evaluate("getComputedStyle(document.documentElement).backgroundColor"))
    light, dark = (sum(map(int, ground[4:-1].split(","))) for ground in grounds)
    assert light > 600
    assert dark < 150


def test_on_paper_stands_what_is_read_and_nothing_to_press(board, api, lead):
    api.call("POST", "/leads/bulk", {"items": [{"op": "create", "data": {"name": f"Lead {n}"}} for n in range(25)]})
    board.goto("/board")
    expect(card(board, "Zoé Blanc")).to_be_attached()
    board.emulate_media(media="print")
    for name in ("Nouveau lead", "English", "Déplacer Zoé Blanc vers…"):
        expect(board.get_by_role("button", name=name)).to_be_hidden()
    expect(card(board, "Zoé Blanc")).to_be_visible()
    cut = board.evaluate("""
        [...document.querySelectorAll("main, main *:not(.unseen)")].filter((each) => each.checkVisibility() &&
        getComputedStyle(each).overflowY !== "visible" && each.scrollHeight > each.clientHeight + 1)
        .map((each) => each.outerHTML.slice(0, 60))""")
    assert cut == []
    for number in range(25):
        expect(card(board, f"Lead {number}")).to_be_visible()


@pytest.fixture
def phone(visit, lead):
    """The board on a telephone."""
    page = visit(**PHONE)
    page.goto("/board")
    expect(card(page, "Zoé Blanc")).to_be_visible()
    return page


def test_a_phone_shows_one_column_at_a_time(phone, lead):
    expect(column(phone, "Contacté")).to_be_hidden()
    phone.get_by_role("combobox", name="Colonne", exact=True).select_option("Contacté (1)")
    expect(card(phone, "Ana Silva")).to_be_visible()
    expect(column(phone, "Nouveau")).to_be_hidden()


def test_on_a_phone_leads_are_moved_by_the_menu(phone, api, lead):
    choose_column(phone, "Zoé Blanc", "Négociation")
    expect(phone.get_by_text("Zoé Blanc est dans Négociation.")).to_be_visible()
    assert api.get(f"/leads/{lead['id']}").data["stage"] == "negotiation"


def test_nothing_on_a_phone_is_too_small_to_touch_or_too_wide_to_see(phone, lead):
    found = {}

    def look(what):
        found[what] = phone.evaluate(SMALL) + phone.evaluate(WIDE)

    look("board")
    phone.get_by_text("Filtres", exact=True).tap()
    look("filters")
    phone.get_by_text("Filtres", exact=True).tap()
    phone.get_by_role("button", name="Déplacer Zoé Blanc vers…").tap()
    look("menu")
    phone.get_by_role("dialog").get_by_role("button", name="Abandonner").tap()
    phone.get_by_role("button", name="Nouveau lead").tap()
    look("new lead")
    phone.get_by_role("dialog").get_by_role("button", name="Abandonner").tap()
    link_of(phone, "Zoé Blanc").tap()
    expect(panel(phone, "Zoé Blanc").get_by_role("listitem").filter(has_text="Création")).to_be_visible()
    look("lead")
    for view, there in (("table", "2 en tout"), ("figures", "Par source"), ("import", "Déposez un fichier ici")):
        phone.goto(f"/board?view={view}")
        expect(phone.get_by_text(there)).to_be_visible()
        look(view)
    found = {view: what for view, what in found.items() if what}
    assert not found, json.dumps(found, indent=1, ensure_ascii=False)


def test_a_touch_outside_loses_nothing(phone, api, lead):
    phone.get_by_role("button", name="Nouveau lead").tap()
    phone.get_by_label("Nom *").fill("Bob Roux")
    phone.touchscreen.tap(195, 5)
    expect(phone.get_by_label("Nom *")).to_have_value("Bob Roux")
    phone.get_by_role("dialog").get_by_role("button", name="Abandonner").tap()
    link_of(phone, "Zoé Blanc").tap()
    panel(phone, "Zoé Blanc").get_by_label("Ville").fill("Arles")
    phone.get_by_role("heading", name="Zoé Blanc").tap()
    expect(panel(phone, "Zoé Blanc").get_by_label("Ville")).to_have_value("Arles")
    panel(phone, "Zoé Blanc").get_by_role("link", name="Fermer").tap()
    expect(panel(phone, "Zoé Blanc")).to_have_count(0)
    expect(phone.get_by_text("Ville : enregistré.")).to_be_visible()
    assert api.get(f"/leads/{lead['id']}").data["city"] == "Arles"
