"""A running tools/app.py, and a browser on its page."""

import contextlib
import signal
import subprocess
import sys

from diffmae_video.runtime.processes import free_port
from tests.browser import import_for_browser
from tests.integration.runs import environment
from tests.repository import ROOT

# Whatever the server connects to or looks up, by Python's own audit events. Sockets of this machine's own
# processes have a path and no host.
WATCH = """
import os, sys
def watch(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        where = arguments[1] if event == "socket.connect" else arguments
        if isinstance(where, tuple):
            with open(os.environ["WATCHED"], "a") as file:
                print(where[0], file=file)
sys.addaudithook(watch)
"""


@contextlib.contextmanager
def running_app(folder, *arguments):
    """The address of a running tool and its process; its end is a test as well."""
    import_for_browser("gradio", "app")
    (folder / "sitecustomize.py").write_text(WATCH)
    (folder / "temporary").mkdir()
    port, watched = free_port(), folder / "watched.txt"
    about = environment(TMPDIR=folder / "temporary", WATCHED=watched)
    about["PYTHONPATH"] += f":{folder}"
    command = [sys.executable, str(ROOT / "tools/app.py"), *map(str, arguments), "--port", str(port)]
    process = subprocess.Popen(command, env=about, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert line == f"open http://127.0.0.1:{port}/\n", process.stderr.read()
        yield line.split()[1], process
        process.send_signal(signal.SIGTERM)  # as services are stopped; Ctrl-C is the same to it
        _, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert process.returncode == 130
    assert errors == "stopped\n", errors
    seen = set(watched.read_text().split())
    assert seen <= {"127.0.0.1", "localhost"}, seen
    assert not list((folder / "temporary").iterdir())  # what was uploaded has gone


@contextlib.contextmanager
def visits(url, browser, button):
    """Gives a function that opens the page and waits for a button.

    Afterwards, nothing may have left the machine, and nothing may have gone wrong in the console.
    """
    contexts, faults, refused = [], [], []

    def visit(width=1280, height=900, scheme="light"):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(180_000)
        page.on("pageerror", lambda error: faults.append(f"page: {error}"))
        page.on("console", lambda m: faults.append(f"console: {m.text}") if m.type == "error" else None)
        page.on(
            "request", lambda r: None if r.url.startswith((url, "data:", "blob:")) else faults.append(r.url)
        )
        page.on("response", lambda r: refused.append(r.url) if r.status >= 400 else None)
        page.goto(url)
        page.get_by_role("button", name=button, exact=True).wait_for()
        return page

    yield visit
    for context in contexts:
        context.close()
    # gradio asks how far an upload is, and finds none where a small file was faster; it logs that twice
    assert all("/upload_progress?" in where for where in refused), refused
    if refused:
        late = ("console: Failed to load resource", "console: Response")
        faults = [fault for fault in faults if not fault.startswith(late)]
    assert faults == []


def upload(page, path):
    page.locator("input[type=file]").first.set_input_files(path)


def status(page):
    return page.locator("p[role=status]").inner_text()


def wait_for_status(page, text):
    page.locator("p[role=status]", has_text=text).wait_for()


def shown(page):
    """The picture's pixels as they are on the page."""
    return page.get_by_alt_text("side by side").screenshot()


def download(page, folder):
    button = page.get_by_role("button", name="Download")
    button.wait_for()
    with page.expect_download() as started:
        button.click()
    path = folder / started.value.suggested_filename
    started.value.save_as(path)
    return path


def refusal(page):
    """The words of the message on the page, which is then closed."""
    toast = page.get_by_test_id("toast-body")
    text = toast.inner_text()
    toast.get_by_test_id("toast-close").click()
    toast.wait_for(state="detached")
    return text


def set_number(page, label, value):
    field = page.get_by_label(label).first
    field.fill(str(value))
    field.press("Enter")
    field.blur()
