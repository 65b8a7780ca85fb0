"""The pictures of docs/board.md: `python bench/screenshots.py URL`, of a service with the leads of `flask leads demo`.

Needs tests/board/requirements.txt and Debian's Chromium. Writes docs/images/VIEW[-dark|-phone].png.
"""

import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).parent.parent / "docs" / "images"
LOOKS = {"": ({"width": 1280, "height": 800}, "light"), "-dark": ({"width": 1280, "height": 800}, "dark"),
         "-phone": ({"width": 390, "height": 844}, "light")}
LIST = """Société;Prénom;Nom;Téléphone;Email;Statut;Créé le;Intérêt
Garage du Port;Hélène;Martin;06 12 34 56 78;helene@example.com;Nouveau;31/10/2026;80 %
;Théo;Durand;01 23 45 67 89 / 06 98 76 54 32;theo@example.com;Qualifié;31/10/2026;
;Zoé;Petit;0611223344;zoe@;Perdu;10/31/2026;
""".encode("cp1252")


def lead(page):
    page.goto("board?sort=next_step")
    page.locator(".card .open").nth(1).click()
    page.get_by_role("heading", name="Historique").wait_for()


def trial(page):
    page.goto("board?view=import")
    page.locator("input[type=file]").set_input_files(
        {"name": "salon.csv", "mimeType": "text/csv", "buffer": LIST})
    page.get_by_text("rien n'est encore écrit").wait_for()


def merge(page):
    one, _ = (page.request.post("leads/", data=lead) for lead in (
        {"name": "Lou Blanc", "company": "Garage du Port", "phone": "06 12 34 56 78", "email": "lou@example.com"},
        {"name": "BLANC Lou", "company": "garage du port", "phone": "0033 612345678", "city": "Aix"}))
    page.goto(f"board?lead={one.json()['data']['id']}")
    page.get_by_role("button", name="Fusionner").click()


VIEWS = {"board": lambda page: page.goto("board?sort=next_step"), "lead": lead, "import": trial,
         "figures": lambda page: page.goto("board?view=figures"), "merge": merge}


def main(url):
    IMAGES.mkdir(exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for suffix, (size, scheme) in LOOKS.items():
            context = browser.new_context(base_url=url.rstrip("/") + "/", viewport=size, color_scheme=scheme,
                                          locale="fr-FR", timezone_id="Europe/Paris")
            for name, go in VIEWS.items():
                page = context.new_page()
                go(page)
                page.wait_for_timeout(1500)  # the days in the stage come last
                page.screenshot(path=IMAGES / f"{name}{suffix}.png")
                if name == "merge":  # so that the next look finds no pair of before
                    for each in page.request.get("leads/search/blanc").json()["data"]:
                        page.request.delete(f"leads/{each['id']}")
                page.close()


if __name__ == "__main__":
    main(sys.argv[1])
