"""Chromium for the tests of pages; what a page must not do fails the test that opened it."""

import contextlib
import functools
import http.server
import os
import threading
from pathlib import Path

import pytest

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
)


@contextlib.contextmanager
def chromium():
    """A browser, where playwright and a Chromium are there."""
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install 'diffmae-video[browser]'")
    if not Path(CHROMIUM).is_file():
        pytest.skip(f"no Chromium at {CHROMIUM}: install it (Debian: apt install chromium) or set CHROMIUM")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@contextlib.contextmanager
def opened(browser, url, **context):
    """A page of the browser: no error on its console, and no request but to where it is from."""
    made = browser.new_context(**context)
    page, told, asked = made.new_page(), [], []
    page.on("console", lambda message: told.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    try:
        yield page
    finally:
        made.close()
    origin = url[: url.rindex("/")]
    assert told == []
    assert [link for link in asked if not link.startswith((origin, "data:"))] == []


@contextlib.contextmanager
def served(folder):
    """The address of a web server on this machine that gives out a folder."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
