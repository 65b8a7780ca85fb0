"""The board in Chromium, on many leads: how soon it is there, how soon it answers, whether it keeps up with the keys.

    .venv/bin/pip install -r bench/requirements.txt     # and Debian's chromium and nginx
    .venv/bin/python bench/board.py [--rows 100000] [--cards 60] [--keep FOLDER]

It fills a database (bench/fill.py) and starts the service behind nginx as deploy/ has them. Then: the board from an
empty cache, until every open column has its cards on the screen; a search, from the last key until all cards on the
screen are those that were searched for, begun when the page is at rest; 400 keys in a lead's remarks and in the search,
beside columns of 60 cards that others change twice a second; and what the page weighs as it comes over the line. Prints
a table; exit status 1 when a figure misses its aim.
"""

import argparse
import atexit
import shutil
import statistics
import sys
import tempfile
import threading
import unicodedata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from playwright.sync_api import expect, sync_playwright

from bench import fill
from bench.load import database_of, served
from leads_service.database import embedded
from real.client import Caller
from real.salesperson import column, link_of, names_in, panel

FIRST, SEARCH, KEY, WEIGHT = 1000, 300, 100, 60_000  # ms, ms, ms, bytes
PAUSE = 60  # ms from one key to the next, faster than people type
REST = 1000  # ms after which the figures of the search before, which nobody waits for, are there
OPEN = ("Nouveau", "Contacté", "Devis envoyé", "Négociation")
TYPED = "Rappeler lundi vers dix heures, le devis est accepté. " * 4
# When the card of the last of the open columns has been painted, in ms since the page was asked for.
WATCH_COLUMNS = f"""window.shown = new Promise((resolve) => new MutationObserver((_, observer) => {{
    const columns = [...document.querySelectorAll("main section")].filter((each) => each.querySelector("[data-card]"));
    if (columns.length < {len(OPEN)}) return;
    observer.disconnect();
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now())));
}}).observe(document, {{ childList: true, subtree: true }}));"""
# Types a term and gives the ms until all cards hold it, painted.
SEARCH_FOR = """(term) => new Promise((resolve) => {
    const plain = (text) => text.normalize("NFD").replace(/[\\u0300-\\u036f]/g, "").toLowerCase();
    const cards = () => [...document.querySelectorAll("[data-card]")];
    const box = document.querySelector("input[type=search]");
    const begun = performance.now();
    const observer = new MutationObserver(() => {
        if (!cards().length || !cards().every((card) => plain(card.textContent).includes(term))) return;
        observer.disconnect();
        requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - begun)));
    });
    observer.observe(document.querySelector("main"), { childList: true, subtree: true, characterData: true });
    box.value = term;
    box.dispatchEvent(new Event("input", { bubbles: true }));
})"""
WATCH_KEYS = """window.keys = [];
new PerformanceObserver((list) => window.keys.push(...list.getEntries().filter((each) => each.name === "keydown")
    .map((each) => each.duration))).observe({ type: "event", durationThreshold: 16, buffered: true });"""


def first_looks(browser, address, times=10):
    """The ms until the board is there, each time from an empty cache, and what the page weighs (bytes)."""
    found, weight = [], 0
    for _ in range(times):
        context = browser.new_context(locale="fr-FR")
        page = context.new_page()
        page.add_init_script(WATCH_COLUMNS)
        page.goto(f"http://{address}/board")
        found.append(page.evaluate("window.shown"))
        weight = page.evaluate("""performance.getEntries().filter((each) => each.name.includes("/board"))
            .reduce((sum, each) => sum + each.encodedBodySize, 0)""")
        context.close()
    return found, weight


def searches(page):
    """The ms of a search for each of twenty names."""
    terms = ["".join(letter for letter in unicodedata.normalize("NFD", name.lower()) if letter.isascii())
             for name in fill._LAST if name.isalpha() and "œ" not in name][:20]
    found = []
    for term in terms:
        page.wait_for_timeout(REST)
        found.append(page.evaluate(SEARCH_FOR, term))
    return found


def fill_columns(page, cards):
    """Scroll until each open column has so many cards."""
    for name in OPEN:
        links = column(page, name).get_by_role("link", name="Ouvrir ")
        while links.count() < cards:
            before = links.count()
            links.last.scroll_into_view_if_needed()
            expect(links.nth(before)).to_be_attached()


def others(address, ids, stop):
    """Change leads on the screen, one after the other, until told to stop."""
    caller, prefix = Caller(address.split("/")[0]), "/" + address.partition("/")[2]
    for number in range(10**6):
        if stop.wait(0.5):
            return
        caller.call("PATCH", f"{prefix}/leads/{ids[number % len(ids)]}", {"interest_level": number % 100})


def press_keys(page, address, cards):
    """(keys pressed, keys that arrived, the ms from a key to the next picture of each slow one)."""
    fill_columns(page, cards)
    ids = page.evaluate("[...document.querySelectorAll('[data-card]')].map((card) => card.dataset.card)")
    stop = threading.Event()
    changing = threading.Thread(target=others, args=(address, ids, stop))
    name = names_in(column(page, OPEN[0]))[0]
    link_of(page, name).first.click()
    remarks = panel(page, name).get_by_label("Remarques")
    remarks.fill("")
    remarks.evaluate("(box) => box.scrollIntoView({ block: 'center' })")  # what is not in sight makes no picture
    page.evaluate(WATCH_KEYS)
    changing.start()
    remarks.press_sequentially(TYPED, delay=PAUSE)
    arrived = len(remarks.input_value())
    stop.set()
    changing.join()
    search = page.get_by_role("searchbox")
    search.press_sequentially(TYPED[:200], delay=PAUSE)
    return 200 + len(TYPED), arrived + len(search.input_value()), page.evaluate("window.keys")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--cards", type=int, default=60)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # before the server's own, and so called after it
    url = database_of(embedded.start((arguments.keep or folder / "data").resolve()), arguments.rows)
    with served(url) as (_, address), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", chromium_sandbox=False)
        looks, weight = first_looks(browser, address)
        page = browser.new_context(locale="fr-FR", viewport={"width": 1280, "height": 800}).new_page()
        page.set_default_timeout(120_000)
        page.goto(f"http://{address}/board")
        expect(column(page, OPEN[0]).get_by_role("link", name="Ouvrir ").first).to_be_visible()
        found = searches(page)
        page.goto(f"http://{address}/board")
        pressed, arrived, slow = press_keys(page, address, arguments.cards)
        browser.close()
    figures = [
        ("first board, empty cache, median of 10", statistics.median(looks), FIRST, "ms"),
        ("the slowest of them", max(looks), None, "ms"),
        ("a search on screen, median of 20", statistics.median(found), SEARCH, "ms"),
        ("the slowest of them", max(found), None, "ms"),
        (f"keys lost of {pressed} beside {arguments.cards} cards a column", pressed - arrived, 1, ""),
        ("the slowest of them, to the next picture", max(slow, default=16), KEY, "ms"),
        ("the page over the line, compressed", weight, WEIGHT, "bytes"),
    ]
    print(f"{arguments.rows:,} leads\n\n| what | measured | less than |\n|---|---:|---:|")
    for what, measured, bound, unit in figures:
        print(f"| {what} | {measured:,.0f} {unit} | {f'{bound:,} {unit}' if bound else ''} |")
    sys.exit(any(bound and measured >= bound for _, measured, bound, _ in figures))


if __name__ == "__main__":
    main()
