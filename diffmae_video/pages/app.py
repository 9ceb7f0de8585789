"""The app's server: checks its address, loads the model, serves the page and cleans up."""

import errno
import logging
import os
import socket
import tempfile
import threading
from pathlib import Path

from diffmae_video.errors import InputError, require
from diffmae_video.pages.app_layout import MAX_MEGABYTES, build_page, build_theme
from diffmae_video.pages.film_cleaning import end_jobs
from diffmae_video.pages.film_layout import build_film_page
from diffmae_video.pages.live_inpainting import LiveInpainting

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(folder: Path | None, host: str, port: int | None, precision: str) -> None:
    """Serves a page until interrupted. The server contacts no other machine.

    The page cleans films, by fitting a model to each; or with a model, it fills a window of a film live.

    Uploads and results are kept in a temporary folder, which is deleted at the end.

    Args:
        folder: a pre-training run's folder; None for the page that cleans films.
        host: the address to listen on. Those in ``LOOPBACK`` are reachable from this machine only.
        port: None takes the first free one from 7860 on.
        precision: of the weights, see :func:`~diffmae_video.runtime.device.sampling_dtype`.

    Raises:
        InputError: the address cannot be used, or the folder holds no model that inpaints.
        MissingExtraError: gradio or PyAV is not installed.
    """
    check_address(host, port)
    live = LiveInpainting(folder, precision) if folder is not None else None
    require("av", "video")
    if live is None:
        require("cv2", "film")
    with tempfile.TemporaryDirectory(prefix="diffmae-app-") as cache:
        # gradio reads both variables when it is imported.
        os.environ |= {"GRADIO_ANALYTICS_ENABLED": "False", "GRADIO_TEMP_DIR": cache}
        gradio = require("gradio", "app")
        page = build_film_page(gradio, Path(cache) / "fit") if live is None else build_page(gradio, live)
        logging.getLogger("uvicorn.error").addFilter(_is_worth_a_line)
        try:
            _, url, _ = page.launch(
                server_name=host,
                server_port=port,
                share=False,
                prevent_thread_lock=True,
                quiet=True,
                ssr_mode=False,
                max_file_size=f"{MAX_MEGABYTES}mb",
                footer_links=[],
                theme=build_theme(gradio),
            )
        except OSError as error:
            if "empty port" not in str(error):
                raise
            taken = "7860 and the ports after it are" if port is None else f"{port} is"
            raise InputError(f"--port: {taken} in use on {host}; choose a free one") from error
        try:
            print(f"open {url}", flush=True)
            threading.Event().wait()
        finally:
            page.close(verbose=False)
            end_jobs()


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    """Whether a line of the server's log says more than that somebody closed the page during an upload."""
    return record.exc_info is None or type(record.exc_info[1]).__name__ != "ClientDisconnect"


def check_address(host: str, port: int | None) -> None:
    """Tries to listen on an address, before the model is loaded.

    Raises:
        InputError: the host is not this machine's, or the port is taken or not allowed.
    """
    try:
        (family, kind, protocol, _, address), *_ = socket.getaddrinfo(
            host, port or 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that was just closed is free
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(
                f"--port {port}: already in use on {host}; choose another, or leave --port out to take the "
                "first free one"
            ) from error
        if error.errno == errno.EACCES:
            raise InputError(f"--port {port}: not permitted; choose one from 1024 on") from error
        raise InputError(f"--host {host}: not an address of this machine ({error.strerror})") from error
