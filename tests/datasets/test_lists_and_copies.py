"""datasets/make_lists.py and resize_videos.py as a user runs them."""

import json

import pytest
from PIL import Image

from diffmae_video.data import Entry, open_video, read_list
from tests.calls import script
from tests.repository import ROOT


def run(name, *arguments):
    return script(ROOT / "datasets" / name, *arguments)


def make(kind, output, **flags):
    """Runs make_lists.py and reads the list that it wrote."""
    pairs = [text for name, value in flags.items() for text in (f"--{name.replace('_', '-')}", value)]
    done = run("make_lists.py", kind, "--output", output, *pairs)
    assert done.returncode == 0, done.stderr
    return done.stdout, read_list(output) if output.is_file() else None


@pytest.fixture
def touch(tmp_path):
    def make(*names):
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text("")

    return make


def test_kinetics(tmp_path, touch):
    touch("videos/eating cake/abc_000001_000011.mp4", "videos/abseiling/d-f_000020_000030.mkv")
    csv = tmp_path / "train.csv"
    csv.write_text(
        "label,youtube_id,time_start,time_end,split,is_cc\n"
        "eating cake,abc,1,11,train,0\nabseiling,d-f,20,30,train,0\nabseiling,gone,5,15,train,0\n"
    )
    said, entries = make("kinetics", tmp_path / "l/t.csv", csv=csv, videos=tmp_path / "videos")
    assert "2 videos, 2 classes; 1 missing" in said
    assert (tmp_path / "l/t.csv.missing").read_text() == "gone_000005_000015\n"
    assert [e.label for e in entries] == ["eating cake", "abseiling"]


def test_ssv2_and_ucf101(tmp_path, touch):
    touch("v/7.webm", "UCF-101/Archery/v_Archery_g01_c01.avi")
    labels, split = tmp_path / "train.json", tmp_path / "trainlist01.txt"
    rows = [("7", "Putting [something] on a surface"), ("8", "Moving [something] up")]
    labels.write_text(json.dumps([{"id": i, "label": "x", "template": text} for i, text in rows]))
    _, entries = make("ssv2", tmp_path / "ssv2.csv", labels=labels, videos=tmp_path / "v")
    assert entries == [Entry(str(tmp_path / "v/7.webm"), label="Putting something on a surface")]
    split.write_text("Archery/v_Archery_g01_c01.avi 1\r\n\n")
    _, entries = make("ucf101", tmp_path / "ucf.csv", split=split, videos=tmp_path / "UCF-101")
    assert [e.label for e in entries] == ["Archery"]


def test_imagenet(tmp_path):
    for name in ("train/n01/a.JPEG", "train/n02/b.JPEG", "val/ILSVRC2012_val_00000001.JPEG"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 9)).save(tmp_path / name)
    _, entries = make("imagenet", tmp_path / "train.csv", images=tmp_path / "train")
    assert [e.label for e in entries] == ["n01", "n02"]
    solution = tmp_path / "s.csv"
    solution.write_text("ImageId,PredictionString\nILSVRC2012_val_00000001,n02 1 2 3 4\n")
    _, entries = make("imagenet", tmp_path / "val.csv", images=tmp_path / "val", solution=solution)
    assert [e.label for e in entries] == ["n02"]
    done = run("make_lists.py", "imagenet", "--images", tmp_path / "val", "--output", tmp_path / "x.csv")
    assert done.returncode == 2
    assert "give --solution" in done.stderr


def test_own_clips_are_split_within_each_class(tmp_path, touch):
    touch(*(f"clips/{c}/{i}.mp4" for c in ("a b", "ü") for i in range(10)))
    for seed in (0, 1):
        make("own", tmp_path / f"l{seed}", videos=tmp_path / "clips", seed=seed)
    train, val = (read_list(tmp_path / "l0" / f"{name}.csv") for name in ("train", "val"))
    assert (len(train), len(val)) == (16, 4)
    assert sorted(e.label for e in val) == ["a b", "a b", "ü", "ü"]
    assert not {e.path for e in train} & {e.path for e in val}
    assert read_list(tmp_path / "l1/val.csv") != val


def test_few_clips_are_split_and_the_tool_says_how(tmp_path, touch):
    touch("clips/run/1.mp4", "clips/run/2.mp4", "clips/run/3.mp4", "clips/walk/1.mp4", "clips/jump/1.mp4")
    said, _ = make("own", tmp_path / "l", videos=tmp_path / "clips")
    assert [e.label for e in read_list(tmp_path / "l/val.csv")] == ["run"]
    assert "train.csv: 4 videos, 3 classes" in said
    assert "val.csv: 1 video, 1 class" in said
    assert "single files cannot be split and are for training: jump, walk" in said
    said, _ = make("own", tmp_path / "l", videos=tmp_path / "clips", val_share=0)
    assert not (tmp_path / "l/val.csv").exists()
    assert "val.csv: not written" in said
    (tmp_path / "clips/run/3.mp4").unlink()
    said, _ = make("own", tmp_path / "m", videos=tmp_path / "clips/run", val_share=0.1)
    assert "held out 50% and not 10%: small classes" in said


def test_own_pictures(tmp_path, touch):
    touch("pictures/cat/1.jpg", "pictures/cat/2.JPG", "pictures/dog/1.png", "pictures/dog/2.heic")
    said, _ = make("own", tmp_path / "l", videos=tmp_path / "pictures")
    assert "train.csv: 2 pictures, 2 classes" in said
    assert "val.csv: 1 picture, 1 class" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["kinetics", "--csv", "none.csv", "--videos", ".", "--output", "o.csv"], "none.csv"),
        (["ssv2", "--labels", "none.json", "--videos", ".", "--output", "o.csv"], "none.json"),
        (["ucf101", "--split", __file__, "--videos", "nowhere", "--output", "o.csv"], "no such folder"),
        (["own", "--videos", ".", "--output", "o", "--val-share", "2"], "--val-share"),
        (["nothing"], "invalid choice"),
    ],
)
def test_wrong_input_is_one_line(arguments, message):
    done = run("make_lists.py", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_small_copies(tmp_path, real_clips):
    videos = tmp_path / "videos"
    for name in ("x/one.mp4", "y/two.mkv"):
        (videos / name).parent.mkdir(parents=True)
        (videos / name).symlink_to(real_clips["carphone_pristine"])
    (videos / "y/bad.mp4").write_text("no video")
    out = tmp_path / "small"
    done = run("resize_videos.py", videos, "--output", out, "--short-side", "72")
    assert done.returncode == 1, done.stderr
    assert "2 of 3 videos" in done.stdout
    failed = [json.loads(line)["path"] for line in (out / "failed.jsonl").read_text().splitlines()]
    assert failed == [str(videos / "y/bad.mp4")]
    assert read_list(out / "list.csv") == [
        Entry(str(out / "x/one.mp4"), label="x"),
        Entry(str(out / "y/two.mkv.mp4"), label="y"),
    ]
    with open_video(out / "x/one.mp4", "pyav") as video:
        assert (video.num_frames, video.height, video.width) == (120, 72, 88)
        assert len(video.keys) == 60
    (out / "y/two.mkv.mp4").unlink()
    written = (out / "x/one.mp4").stat().st_mtime_ns
    (videos / "y/bad.mp4").unlink()
    assert run("resize_videos.py", videos, "--output", out, "--short-side", "72").returncode == 0
    assert (out / "x/one.mp4").stat().st_mtime_ns == written  # what is there is left alone
    assert (out / "y/two.mkv.mp4").exists()
    done = run("resize_videos.py", videos, "--output", out, "--short-side", "60")
    assert done.returncode == 2
    assert "copies of other sources or with other options are there" in done.stderr
    done = run("resize_videos.py", videos, "--output", videos / "small", "--short-side", "60")
    assert "mix with their sources" in done.stderr
    done = run("resize_videos.py", videos, "--output", out, "--short-side", "0")
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1
