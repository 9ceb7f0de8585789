"""datasets/moving_actions.py: motion tells the class, and nothing else does."""

import importlib.util
import subprocess
import sys

import av
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import ks_2samp
from torch import nn

from diffmae_video.data import class_names, open_video, read_list
from tests.calls import script
from tests.repository import ROOT

SCRIPT = ROOT / "datasets/moving_actions.py"
SMALL = ("--train", "11", "--val", "13", "--size", "32", "--frames", "6", "--fps", "8")


@pytest.fixture(scope="module")
def actions():
    spec = importlib.util.spec_from_file_location("moving_actions", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def draw_set(actions, split, count, seed, **kwargs):
    """Clips [count, T, S, S, 3] of all classes in turn, and the indices of their classes."""
    names = actions.CLASSES
    clips = [
        actions.draw_clip(names[i % len(names)], split, np.random.default_rng((seed, i)), **kwargs)
        for i in range(count)
    ]
    return torch.from_numpy(np.stack(clips)), torch.arange(count) % len(names)


def run(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=120
    )


def decode(path):
    with open_video(path, "pyav") as reader:
        return reader.frames(list(range(reader.num_frames))), reader.fps


def test_the_command_line_writes_clips_and_lists(actions, tmp_path):
    output = tmp_path / "moving"
    done = run("--output", output, "--seed", "3", *SMALL)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    entries = {split: read_list(output / f"{split}.csv") for split in ("train", "val")}
    assert {split: len(part) for split, part in entries.items()} == {"train": 11, "val": 13}
    assert all(class_names(part) == sorted(actions.CLASSES) for part in entries.values())
    clips = {e.path: decode(e.path) for e in entries["train"] + entries["val"]}
    assert all(frames.shape == (6, 32, 32, 3) and fps == 8 for frames, fps in clips.values())
    assert len({frames.tobytes() for frames, _ in clips.values()}) == 24
    with av.open(entries["val"][0].path) as container:
        assert container.streams.video[0].codec_context.name == "h264"

    # Drawn here, alone: the same seed gives the same pixels, another one others.
    last = entries["val"][-1].path
    for seed in (3, 4):
        actions.make_clip(tmp_path / str(seed), "val", 12, size=32, frames=6, fps=8, seed=seed)
        again = decode(last.replace("moving", str(seed)))[0]
        assert np.array_equal(clips[last][0], again) == (seed == 3)


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (("--train", "5"), "--train and --val"),
        (("--size", "33"), "--size must be even"),
        (("--fps", "0"), "--fps above 0"),
        ((), "is not an empty folder; delete it"),
    ],
)
def test_bad_input_is_one_line(tmp_path, arguments, part):
    output = tmp_path / "set"
    if not arguments:
        output.mkdir()
        (output / "mine.txt").write_text("kept")
    done = script(SCRIPT, "--output", output, *arguments)
    assert done.returncode == 2
    assert part in done.stderr
    assert done.stderr.count("\n") == 1


def test_train_and_val_share_no_content(actions, real_clips):
    for _, train, val in actions.FILMS.values():
        apart = [a[1] <= b[0] or b[1] <= a[0] for a, b in zip(train, val, strict=True)]
        assert any(apart)
    cut = actions.FILMS["bikes.mp4"][2][0][0]  # where val starts, a new shot does
    with open_video(real_clips["bikes"], "pyav") as reader:
        before, first, second = reader.frames([cut - 1, cut, cut + 1]).astype(float)
    assert abs(first - before).mean() > 5 * abs(second - first).mean()


def test_compression_of_a_frame_knows_no_other_frame(actions, tmp_path):
    clips = [actions.draw_clip(c, "val", np.random.default_rng(1), frames=8) for c in ("shake", "still")]
    frames = np.concatenate(clips)
    order = np.random.default_rng(0).permutation(len(frames))
    actions.write_clip(tmp_path / "a.mp4", frames, 16)
    actions.write_clip(tmp_path / "b.mp4", frames[order], 16)
    decoded = decode(tmp_path / "a.mp4")[0]
    assert np.array_equal(decoded[order], decode(tmp_path / "b.mp4")[0])
    error = np.mean((decoded.astype(float) - frames) ** 2)
    assert 10 * np.log10(255**2 / error) > 30


@pytest.fixture
def plain(actions, monkeypatch):
    """Textures replaced: a black background, and a patch whose right half is brighter than its left."""

    def draw(label, seed, **kwargs):
        halves = torch.full((3, 128, 128), 0.5)
        halves[:, :, 64:] = 1
        textures = iter([torch.zeros(3, 128, 128), halves])
        monkeypatch.setattr(actions, "_texture", lambda split, side, rng: next(textures)[:, :side, :side])
        clip = actions.draw_clip(label, "train", np.random.default_rng(seed), **kwargs)
        return clip[..., 0].astype(float) / 255

    return draw


def test_a_plain_clip_has_two_colours(actions):
    for label in actions.CLASSES:
        clip = actions.draw_clip(label, "val", np.random.default_rng(0), size=32, frames=8, plain=True)
        ground, shape = clip[clip.sum(-1) < 1.5 * 255], clip[clip.sum(-1) > 1.8 * 255]
        assert len(shape) > 50
        assert len(np.unique(ground[ground.sum(1) == ground.sum(1).min()], axis=0)) == 1
        assert (ground.min(0) <= 64).all()
        assert (np.abs(shape.astype(int) - np.median(shape, 0)).max(1) <= 1).mean() > 0.5  # but for its edge


def centre(weights):
    """The centre of mass on the torus, [T, 2] of x, y as angles."""
    turn = np.exp(2j * np.pi * np.arange(64) / 64)
    return np.angle(np.stack([weights.sum(1) @ turn, weights.sum(2) @ turn], 1))


def test_motions_are_what_their_names_say(actions, plain):
    for seed in range(5):
        for label in actions.CLASSES:
            clip = plain(label, seed)
            mask = clip > 0.1
            place = np.unwrap(centre(mask), axis=0)
            area = mask.sum((1, 2))
            # from the centre of the patch towards its brighter half; y grows downwards
            towards = np.exp(1j * (centre(np.where(mask, clip - 0.4, 0)) - centre(mask)))
            angle = np.unwrap(np.arctan2(*np.angle(towards).T[::-1]))
            dx, dy, turned = place[-1, 0] - place[0, 0], place[-1, 1] - place[0, 1], angle[-1] - angle[0]
            grown = np.median(np.diff(np.log(area)))
            told = {
                "left": dx < -2 and abs(dy) < 0.3,
                "right": dx > 2 and abs(dy) < 0.3,
                "up": dy < -2 and abs(dx) < 0.3,
                "down": dy > 2 and abs(dx) < 0.3,
                "clockwise": turned > 1.5,
                "counter-clockwise": turned < -1.5,
                "zoom-in": grown > 0.03,
                "zoom-out": grown < -0.03,
                "bounce": np.ptp(place[:, 1]) > 1 and abs(dy) < 2.9 and np.ptp(place[:, 0]) < 0.3,
                "shake": min(np.ptp(place, axis=0)) > 0.3 and max(np.ptp(place, axis=0)) < 3,
                "still": np.array_equal(clip, clip[:1].repeat(len(clip), 0)),
            }
            assert told[label], (label, seed)


def test_the_state_has_one_distribution_in_all_classes_at_all_times(actions, plain):
    def seen(label, part):
        clips = np.stack([plain(label, (part, i), frames=6, fps=4, size=64) for i in range(100)])
        masks = clips > 0.1
        last = np.concatenate([centre(masks[:, -1]), masks[:, -1].sum((1, 2))[:, None]], 1)
        first = np.concatenate([centre(masks[:, 0]), masks[:, 0].sum((1, 2))[:, None]], 1)
        return np.concatenate([first, last], 1).T  # x, y and area, of the first and the last frame

    reference = np.concatenate([seen("still", part) for part in (100, 101, 102)], 1)
    for part, label in enumerate(actions.CLASSES):
        for values, expected in zip(seen(label, part), reference, strict=True):
            assert ks_2samp(values, expected).pvalue > 1e-4, label


def small_net(classes):
    def block(inputs, outputs, stride):
        return (
            nn.Conv3d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm3d(outputs),
            nn.ReLU(),
        )

    return nn.Sequential(
        *(*block(3, 16, (1, 2, 2)), *block(16, 32, (1, 2, 2)), *block(32, 64, 2), *block(64, 96, 2)),
        *(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(96, classes)),
    )


def fit(clips, labels, epochs, single, batch=32):
    """Trains the net on whole clips, or on one random frame of each; gives its last training accuracy too."""
    net = small_net(int(labels.max()) + 1)
    steps = len(clips) // batch
    optimizer = torch.optim.AdamW(net.parameters(), 4e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, epochs * steps)
    for _ in range(epochs):
        right = 0
        for index in torch.randperm(len(clips))[: steps * batch].split(batch):
            x = clips[index]
            if single:
                x = x[torch.arange(batch), torch.randint(x.shape[1], (batch,))][:, None]
            scores = net(prepared(x))
            optimizer.zero_grad()
            F.cross_entropy(scores, labels[index]).backward()
            optimizer.step()
            schedule.step()
            right += int((scores.argmax(1) == labels[index]).sum())
    return net.eval(), right / (steps * batch)


def prepared(clips):
    return clips.movedim(-1, 1).float() / 255 - 0.45


@pytest.mark.slow
def test_motion_tells_the_class_and_a_single_frame_does_not(actions):
    kwargs = {"size": 32, "frames": 16, "fps": 8}
    clips, labels = draw_set(actions, "train", 3300, 0, **kwargs)
    val, expected = draw_set(actions, "val", 880, 1, **kwargs)
    moving, _ = fit(clips, labels, 7, single=False)
    frozen, learned = fit(clips, labels, 25, single=True)
    assert learned > 0.9  # converged: it knows its training frames by heart
    with torch.no_grad():
        by_motion = float((moving(prepared(val)).argmax(1) == expected).float().mean())
        frames = [frozen(prepared(clip[:, None])).argmax(1) for clip in val]
    by_clip = (torch.stack(frames) == expected[:, None]).float().mean(1)
    by_frame = float(by_clip.mean())
    # The frames of a clip are alike, so that the clips count: 3 points are four standard errors.
    error = float(by_clip.std()) / len(val) ** 0.5
    print(f"all frames {by_motion:.3f}, a single frame {by_frame:.3f} ± {error:.3f}")
    assert by_motion > 0.8
    assert abs(by_frame - 1 / 11) < 0.03
