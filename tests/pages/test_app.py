"""The address of the app: what cannot be used is one clear line, before the model is loaded."""

import socket

import pytest

from diffmae_video import InputError
from diffmae_video.pages.app import check_address, serve


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "::1"])
def test_a_taken_port_is_refused_before_the_model_is_loaded(tmp_path, host):
    family = socket.AF_INET6 if host == "::1" else socket.AF_INET
    with socket.socket(family) as other:
        try:
            other.bind((host, 0))
        except OSError:
            pytest.skip(f"{host} is not an address of this machine")
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"--port {port}: already in use on {host}; choose another"):
            serve(tmp_path / "no such folder", host, port, "auto")
    check_address(host, port)


def test_hosts_of_other_machines_are_refused():
    for host in ("192.0.2.1", "no.such.host.invalid"):
        with pytest.raises(InputError, match=f"--host {host}: not an address of this machine"):
            check_address(host, None)


def test_any_free_port_will_do():
    check_address("127.0.0.1", None)
