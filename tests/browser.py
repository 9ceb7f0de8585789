"""Chromium for tests of pages. A page that logs an error or contacts another host fails the test."""

import contextlib
import functools
import http.server
import importlib
import os
import threading
from pathlib import Path

import pytest

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
)


def skip_browser_test(reason):
    """Skips a test that needs a browser. In continuous integration, where CI is "true", the test fails."""
    if os.environ.get("CI", "").lower() in ("true", "1"):
        pytest.fail(f"browser tests must run where CI is set: {reason}", pytrace=False)
    pytest.skip(reason)


def import_for_browser(module, extra):
    """A module that a browser test needs."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        skip_browser_test(f"{error}: pip install 'diffmae-video[{extra}]'")


@contextlib.contextmanager
def chromium():
    """A browser, if playwright and Chromium are installed."""
    playwright = import_for_browser("playwright.sync_api", "browser")
    if not Path(CHROMIUM).is_file():
        skip_browser_test(
            f"no Chromium at {CHROMIUM}: install it (Debian: apt install chromium) or set CHROMIUM"
        )
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser, url, **context):
    """A page in the browser. Afterwards: no error on its console, and no request to another origin."""
    context = browser.new_context(**context)
    page, errors, requests = context.new_page(), [], []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(url)
    try:
        yield page
    finally:
        context.close()
    origin = url[: url.rindex("/")]
    assert errors == []
    assert [link for link in requests if not link.startswith((origin, "data:"))] == []


@contextlib.contextmanager
def served(folder):
    """The address of a web server on this machine that serves a folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
