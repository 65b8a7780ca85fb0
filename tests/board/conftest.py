"""The board in Debian's Chromium, on the running service; without Chromium and its binding the tests skip."""

import contextlib
import os
import shutil

import pytest

# The same without windows, where it is installed, takes two thirds of the processor's time.
CHROMIUM = shutil.which("chromium-headless-shell") or shutil.which("chromium")
DESK = {"width": 1280, "height": 800}


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args):
    """pytest-playwright's, for the Chromium of this machine."""
    if not CHROMIUM:
        pytest.skip("Chromium is not installed (Debian's package chromium)")
    # Its sandbox refuses to work for root, who has to be trusted with the pages of these tests.
    return browser_type_launch_args | {"executable_path": CHROMIUM, "chromium_sandbox": os.getuid() != 0}


@pytest.fixture(scope="session")
def base_url(running):
    """What the addresses in these tests begin with."""
    return f"http://{running.address}"


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args):
    """A French salesperson at a desk."""
    pytest.importorskip("playwright.sync_api").expect.set_options(timeout=15_000)  # on a machine that is busy
    return browser_context_args | {"locale": "fr-FR", "timezone_id": "Europe/Paris", "viewport": DESK}


@pytest.fixture
def errors():
    """What went wrong in pages, which fails the test: their own errors, and what their policy kept from them."""
    found = []
    yield found
    assert found == []


@contextlib.contextmanager
def watched(page, errors):
    """`errors` has what goes wrong in the page meanwhile."""
    said = {"pageerror": lambda error: errors.append(str(error)),
            "console": lambda line: errors.append(line.text) if "Content Security Policy" in line.text else None}
    for event, act in said.items():
        page.on(event, act)
    yield page
    for event, act in said.items():
        page.remove_listener(event, act)


@pytest.fixture
def visit(browser, browser_context_args, errors):
    """A function that gives a page of another browser, which may differ in anything from a salesperson's at a desk."""
    with contextlib.ExitStack() as scope:
        def come(**different):
            context = browser.new_context(**browser_context_args | different)
            scope.callback(context.close)
            return scope.enter_context(watched(context.new_page(), errors))

        yield come


@pytest.fixture(scope="session")
def desk(browser, browser_context_args):
    """The page that most tests use, one after the other: a new one takes as long as most of them."""
    context = browser.new_context(**browser_context_args)
    yield context.new_page()
    context.close()


@pytest.fixture
def tab(desk, errors):
    """That page, as if it were new."""
    with watched(desk, errors):
        yield desk
    desk.unroute_all(behavior="ignoreErrors")
    desk.context.set_offline(False)
    desk.emulate_media(**dict.fromkeys(("media", "color_scheme", "reduced_motion"), "null"))
    desk.set_viewport_size(DESK)
    desk.evaluate("localStorage.clear(), sessionStorage.clear()")
    desk.goto("about:blank")


@pytest.fixture
def board(api, tab):
    """A page of the running service on empty tables; go to /board with it."""
    return tab
