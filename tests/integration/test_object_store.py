"""A run on shards in an object store, which fails in the middle of it."""

import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest

from diffmae_video.data import read_list
from diffmae_video.decoding import DecodingProcess, VideoError
from diffmae_video.errors import InputError
from diffmae_video.files import write_text
from diffmae_video.runtime.processes import free_port
from tests.calls import diffmae, script
from tests.integration.runs import command, finish, losses, rows, run, start, wait_for_step
from tests.repository import ROOT

pytest.importorskip("moto.server")
s3fs = pytest.importorskip("s3fs")
boto3 = pytest.importorskip("boto3")


class Store:
    """A local S3 server that a test can kill and start again with the same content."""

    def __init__(self, folder):
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.process = None

    def start(self):
        command = [sys.executable, "-c", "from moto.server import main; main()", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{self.url}/moto-api/", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                assert self.process.poll() is None
                time.sleep(0.1)
        client = boto3.client("s3", endpoint_url=self.url, region_name="us-east-1")
        client.create_bucket(Bucket="films")
        for path in self.folder.iterdir():
            client.upload_file(str(path), "films", f"train/{path.name}")

    def kill(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@pytest.fixture(scope="module")
def shards(tmp_path_factory, films):
    output = tmp_path_factory.mktemp("packed") / "shards"
    done = script(ROOT / "datasets/make_shards.py", films, "--output", output, "--shard-mb", 0.05)
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def server(shards):
    server = Store(shards)
    yield server
    server.kill()


@pytest.fixture
def store(server, monkeypatch):
    """The server, running, and the variables that lead to it."""
    secrets = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_MAX_ATTEMPTS": "1"}
    for name, value in {**secrets, "AWS_ENDPOINT_URL": server.url, "AWS_DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()  # of another test's server
    if server.process is None:
        server.start()
    return server


LIST = "s3://films/train/list.csv"
OPTIONS = ("TRAIN.BATCH_SIZE", 1, "CHECKPOINT.EVERY_STEPS", 4, "DATA.TIMEOUT", 20)


@pytest.mark.slow
def test_a_run_ends_when_its_store_dies_and_continues_as_if_it_had_not(tmp_path, films, store):
    run(1, films, tmp_path / "local", *OPTIONS, "TRAIN.MAX_STEPS", 30)
    processes = start(1, LIST, tmp_path / "run", *OPTIONS, "TRAIN.MAX_STEPS", 30)
    wait_for_step(tmp_path / "run", 6, processes)
    store.kill()
    codes, _, error = finish(processes)
    assert codes == [1], error  # a later start may succeed
    assert "30 videos in a row could not be read from their store; continue with --resume" in error
    assert "s3://films/train/shard-" in error
    assert len(error.strip().splitlines()) == 1
    assert 6 <= len(losses(tmp_path / "run")) < 30
    store.start()
    run(1, LIST, tmp_path / "run", "--resume", *OPTIONS, "TRAIN.MAX_STEPS", 30)
    assert losses(tmp_path / "run") == losses(tmp_path / "local")
    assert not rows(tmp_path / "run", "bad_videos.jsonl")


@pytest.mark.slow
def test_a_file_that_the_store_lacks_is_a_bad_video_as_any_other(tmp_path, shards, store):
    listed = (shards / "list.csv").read_text()
    bad = "shard-000009.tar@512+1000/00000009-gone.mp4"
    write_text(shards / "with_a_bad_one.csv", f"{listed}{bad}\n")
    client = boto3.client("s3", endpoint_url=store.url)
    client.upload_file(str(shards / "with_a_bad_one.csv"), "films", "train/bad.csv")
    run(1, "s3://films/train/bad.csv", tmp_path / "run", *OPTIONS, "TRAIN.MAX_STEPS", 7)
    faults = rows(tmp_path / "run", "bad_videos.jsonl")
    (own,) = [row for row in faults if row["attempt"] == 0]
    assert own["path"] == f"s3://films/train/{bad}"
    assert "cannot be read from its store" in own["reason"]
    assert len(losses(tmp_path / "run")) == 7


def test_a_store_that_hangs_is_a_fault(shards, store):
    path = read_list(LIST)[0].path
    with DecodingProcess(30) as decoder:
        with decoder.open(path, "pyav") as video:
            assert video.num_frames == 16
        store.process.send_signal(signal.SIGSTOP)
        decoder.timeout = 2
        with pytest.raises(VideoError, match="the decoder gave no answer within 2 s and was ended"):
            decoder.open(path, "pyav")
        store.process.send_signal(signal.SIGCONT)
        decoder.timeout = 30
        with decoder.open(path, "pyav") as video:
            assert video.num_frames == 16


def test_a_list_that_the_store_lacks_is_wrong_input(store):
    with pytest.raises(InputError, match="cannot be read from its store") as error:
        read_list("s3://films/train/none.csv")
    assert error.value.exit_code == 2


def test_a_store_that_is_not_there_ends_a_run_at_once(tmp_path, store):
    store.kill()
    code, _, error = diffmae("pretrain", *command(LIST, tmp_path / "run", "TRAIN.MAX_STEPS", 4)[1:])
    assert code == 1
    assert "s3://films/train/list.csv: cannot be read from its store" in error
    assert len(error.strip().splitlines()) == 1
