"""Names of the hub, downloaded from a server that answers as the hub does; it is the test's own."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from huggingface_hub import constants

from diffmae_video import InputError, load_model
from diffmae_video.hub import local_weights
from tests.calls import diffmae
from tests.tiny_models import tiny_diffmae

COMMIT = "1" * 40


class Hub(BaseHTTPRequestHandler):
    """Serves the folders of ``server.models`` under the hub's addresses, and keeps a list of what it sent."""

    def do_HEAD(self):
        self.answer(with_body=False)

    def do_GET(self):
        self.answer(with_body=True)

    def answer(self, with_body):
        models = self.server.models
        for name, folder in models.items():
            files = sorted(folder.iterdir())
            address = self.path.partition("?")[0]
            if address == f"/api/models/{name}/revision/main":
                listed = [{"rfilename": path.name} for path in files]
                return self.send_json({"id": name, "sha": COMMIT, "siblings": listed}, with_body)
            if address == f"/api/models/{name}/tree/{COMMIT}":
                return self.send_json(
                    [
                        {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": path.name}
                        for path in files
                    ],
                    with_body,
                )
            prefix = f"/{name}/resolve/{COMMIT}/"
            if self.path.startswith(prefix):
                path = folder / self.path.removeprefix(prefix)
                body = path.read_bytes()
                if with_body:
                    self.server.sent.append(path.name)
                etag = hashlib.sha256(body).hexdigest()
                return self.send(body, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, with_body)
        self.send_response(404)
        self.send_header("X-Error-Code", self.server.refusal)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_json(self, value, with_body):
        self.send(json.dumps(value).encode(), {"Content-Type": "application/json"}, with_body)

    def send(self, body, headers, with_body):
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub with one model, ``someone/tiny``, in two formats; the cache is empty."""
    folder = tmp_path / "tiny"
    tiny_diffmae().save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"another format of the same weights")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.models, server.sent = {"someone/tiny": folder}, []
    server.refusal = "RepoNotFound"  # why other models are not sent
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        f"{constants.ENDPOINT}/{{repo_id}}/resolve/{{revision}}/{{filename}}",
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    yield server
    server.shutdown()
    server.server_close()


def test_a_model_is_downloaded_once_and_only_as_safetensors(hub):
    model = load_model("someone/tiny")
    assert model.state_dict().keys() == tiny_diffmae().state_dict().keys()
    assert "model.safetensors" in hub.sent
    assert "pytorch_model.bin" not in hub.sent
    sent = len(hub.sent)
    load_model("someone/tiny")
    assert len(hub.sent) == sent


def test_weights_in_pytorch_files_are_downloaded_where_there_are_no_others(hub):
    (hub.models["someone/tiny"] / "model.safetensors").unlink()
    folder = local_weights("someone/tiny")
    assert (folder / "pytorch_model.bin").read_bytes() == b"another format of the same weights"


def test_a_model_that_the_hub_does_not_have_is_one_line(hub):
    reason = "someone/else: no such file or folder, and the Hugging Face hub has no model of this name"
    with pytest.raises(InputError, match=reason) as error:
        local_weights("someone/else")
    assert "\n" not in str(error.value)


def test_a_gated_model_says_what_to_do(hub):
    hub.refusal = "GatedRepo"
    with pytest.raises(InputError, match=r"someone/else: .* is gated: ask for access .* set HF_TOKEN"):
        local_weights("someone/else")


def test_without_a_connection_the_remedy_is_named(hub):
    hub.shutdown()
    hub.server_close()
    with pytest.raises(InputError, match=r"someone/tiny: .* the Hugging Face hub was not reached") as error:
        local_weights("someone/tiny")
    assert "download the model's folder elsewhere and give its path, or set HF_HOME" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "command",
    [
        "pretrain --config demo/pretrain --init",
        "finetune --config finetune/own_videos --init",
        "predict --input film.mp4 --checkpoint",
        "features --output features.safetensors --checkpoint",
        "gallery --output page --checkpoint",
        "inpaint --input film.mp4 --output clean.mp4 --checkpoint",
        *("evaluate --checkpoint", "probe --checkpoint", "app --checkpoint"),
    ],
)
def test_commands_print_the_hubs_reason(hub, command):
    done = diffmae(*command.split(), "runs/nothing")
    assert done.returncode == 2
    assert "runs/nothing: no such file or folder, and the Hugging Face hub has no model" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_results_are_not_written_into_the_cache(hub):
    done = diffmae("evaluate", "--checkpoint", "someone/tiny")
    assert done.returncode == 2
    assert "is the hub's cache, which holds downloads only; give --output" in done.stderr
