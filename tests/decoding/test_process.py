"""The decoding process: the same frames, and nothing that a decoder does reaches the run."""

import os
import pickle
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from diffmae_video import InputError
from diffmae_video.decoding import DecodingProcess, VideoError, open_video


@pytest.fixture
def decoder():
    with DecodingProcess(30) as process:
        yield process


def test_frames_are_those_of_the_reader(decoder, real_clips, variants):
    for path in (real_clips["bikes"], variants["variable_rate.mkv"], real_clips["carphone_pristine"]):
        with open_video(path, "decord") as truth, decoder.open(path, "decord") as video:
            assert (video.num_frames, video.fps) == (truth.num_frames, truth.fps)
            assert (video.height, video.width) == (truth.height, truth.width)
            assert np.array_equal(video.frames([0, 7, 7, 40]), truth.frames([0, 7, 7, 40]))
            assert np.array_equal(video.times, truth.times)
            assert np.array_equal(video.frames(range(50)), truth.frames(range(50)))
    with decoder.open(real_clips["bikes"], "pyav", 68) as video:
        assert video.frames([3]).shape == (1, 68, 160, 3)


def test_errors_are_the_readers_and_the_process_goes_on(decoder, real_clips, tmp_path):
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(VideoError, match=r"text\.mp4: .*cannot read it"):
        decoder.open(text, "decord")
    first = decoder.process.pid
    with decoder.open(real_clips["bikes"], "decord") as video:
        with pytest.raises(VideoError, match="ascending"):
            video.frames([400])
        assert video.frames([4]).shape == (1, 272, 640, 3)
    assert decoder.process.pid == first


def test_a_decoder_that_hangs_costs_its_time_out(real_clips):
    with DecodingProcess(3.0) as decoder:
        video = decoder.open(real_clips["bikes"], "decord")
        os.kill(decoder.process.pid, signal.SIGSTOP)  # to its parent a stopped process is a hung one
        started = time.monotonic()
        with pytest.raises(VideoError, match=r"bikes\.mp4: the decoder gave no answer within 3 s"):
            video.frames([0])
        assert 2.9 < time.monotonic() - started < 12
        video.close()
        assert decoder.open(real_clips["bikes"], "decord").frames([0]).any()


def test_signals_to_the_whole_group_are_the_parents_affair(decoder, real_clips):
    video = decoder.open(real_clips["bikes"], "decord")
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        os.kill(decoder.process.pid, number)
    assert video.frames([0]).any()


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGKILL"])
def test_a_decoder_that_crashes_is_started_again(decoder, real_clips, name):
    video = decoder.open(real_clips["bikes"], "decord")
    os.kill(decoder.process.pid, signal.Signals[name])
    with pytest.raises(VideoError, match=rf"bikes\.mp4: the decoder crashed over it \({name}\)"):
        video.frames([0])
    assert decoder.open(real_clips["bikes"], "decord").frames([0]).any()


@pytest.mark.parametrize("ask", [lambda v: v.frames([0]), lambda v: v.times])
def test_an_open_video_whose_decoder_is_gone_says_so(decoder, real_clips, ask):
    video = decoder.open(real_clips["bikes"], "decord")
    decoder.process.kill()
    decoder.process.wait()  # known to be dead when it is asked
    with pytest.raises(VideoError, match=r"bikes\.mp4: the decoder crashed over it \(SIGKILL\)"):
        ask(video)
    video.close()
    assert decoder.open(real_clips["bikes"], "decord").frames([0]).any()


def test_a_decoder_that_died_in_between_is_started_again(decoder, real_clips):
    decoder.open(real_clips["bikes"], "decord").close()
    decoder.process.kill()
    decoder.process.wait()
    assert decoder.open(real_clips["bikes"], "decord").frames([0]).any()


def test_one_open_video_at_a_time(decoder, real_clips):
    first = decoder.open(real_clips["bikes"], "decord")
    second = decoder.open(real_clips["carphone_pristine"], "decord")
    with pytest.raises(RuntimeError, match=r"bikes\.mp4: is closed"):
        first.frames([5])
    first.close()
    assert second.frames([5]).shape == (1, 144, 176, 3)


def test_what_is_not_the_files_fault_is_no_video_error(decoder, real_clips):
    with pytest.raises(InputError, match="unknown reader 'vlc'") as caught:
        decoder.open(real_clips["bikes"], "vlc")
    assert not isinstance(caught.value, VideoError)


def test_modules_of_the_current_folder_are_not_taken(tmp_path, monkeypatch, real_clips):
    (tmp_path / "json.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    with DecodingProcess(30) as decoder:
        assert decoder.open(real_clips["bikes"], "decord").num_frames == 250


def test_a_copy_in_another_process_has_a_decoder_of_its_own(decoder, real_clips):
    decoder.open(real_clips["bikes"], "decord")
    copy = pickle.loads(pickle.dumps(decoder))
    assert copy.timeout == 30
    assert copy.process is None
    child = os.fork()
    if not child:
        same = decoder.open(real_clips["bikes"], "decord").frames([1]).any()
        decoder.stop()
        os._exit(0 if same else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert decoder.process.poll() is None


@pytest.mark.skipif(sys.platform != "linux", reason="prctl")
def test_no_decoder_outlives_its_run(real_clips):
    program = (
        "import sys, time; from diffmae_video.decoding import DecodingProcess\n"
        "p = DecodingProcess(9); p.open(sys.argv[1], 'pyav')\n"
        "print(p.process.pid, flush=True); time.sleep(60)"
    )
    run = subprocess.Popen([sys.executable, "-c", program, real_clips["bikes"]], stdout=subprocess.PIPE)
    pid = int(run.stdout.readline())
    os.kill(pid, signal.SIGSTOP)  # it would not see that its input ends
    run.kill()
    run.wait()
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return
        if state == "Z":
            return
        time.sleep(0.1)
    pytest.fail("the decoder is still there")


def test_a_process_that_decodes_needs_no_torch():
    program = "import sys, diffmae_video.decoding.process_main; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def mutated(data: bytes, rng: random.Random) -> bytes:
    """A file with flipped bytes, a hole, a piece cut off, or pieces that changed places."""
    data, kind = bytearray(data), rng.randrange(4)
    if kind == 0:
        for _ in range(rng.choice([1, 10, 300])):
            data[rng.randrange(len(data))] = rng.randrange(256)
    elif kind == 1:
        start = rng.randrange(len(data))
        data[start : start + rng.randrange(1, 4096)] = b""
    elif kind == 2:
        del data[rng.randrange(len(data)) :]
    else:
        a, b = sorted(rng.randrange(len(data)) for _ in range(2))
        data = data[:a] + data[b:] + data[a:b]
    return bytes(data)


def fuzz(variants, tmp_path, backend, count):
    """Reads mutated files: (good, bad) counts."""
    rng = random.Random(0)
    names = ["closed_gop.mp4", "short_gop.mkv", "hevc.mp4", "vp9.webm", "mpeg4.avi", "no_index.ts"]
    good, reasons = 0, []
    with DecodingProcess(20) as decoder:
        for i in range(count):
            source = variants[names[i % len(names)]]
            path = tmp_path / f"mutated{source.suffix}"
            path.write_bytes(mutated(source.read_bytes(), rng))
            try:
                if backend == "check":
                    decoder.check(path, 20)
                else:
                    with decoder.open(path, backend) as video:
                        step = max(1, video.num_frames // 8)
                        frames = video.frames(range(0, video.num_frames, step))
                        assert frames.shape[1:] == (video.height, video.width, 3)
                good += 1
            except VideoError as error:
                reasons.append(str(error))
    assert all("mutated." in reason and "\n" not in reason for reason in reasons)
    return good, len(reasons)


@pytest.mark.parametrize("backend", ["decord", "pyav", "torchcodec", "check"])
def test_500_mutated_files_give_an_error_or_frames(variants, tmp_path, backend):
    if backend == "torchcodec":
        pytest.importorskip("torchcodec")
    good, bad = fuzz(variants, tmp_path, backend, 500)
    assert good + bad == 500
    assert bad >= 150
