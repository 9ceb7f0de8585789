"""Augmentation: one draw for all frames, and the same clip from the same generator."""

import numpy as np
import pytest
import torch
from timm.data.mixup import mixup_target
from torchvision.transforms import v2

from diffmae_video.data.augment import ClipAugmentation, MixAugmentation


def state(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def frames():
    """Six times the same picture."""
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    return np.repeat(picture[None], 6, axis=0)


def test_all_frames_of_a_clip_get_the_same(frames):
    augment = ClipAugmentation((24, 32), (0.3, 1.0), True, rand_augment=(2, 15), erase=1.0)
    for seed in range(40):
        clip = augment(frames, state(seed))
        assert clip.shape == (6, 24, 32, 3)
        assert clip.dtype == torch.uint8
        assert torch.equal(clip, clip[:1].expand_as(clip)), seed


def test_a_generator_fixes_the_clip_and_the_global_state_is_left_alone(frames):
    augment = ClipAugmentation((24, 32), (0.08, 1.0), True, rand_augment=(2, 9), erase=0.5)
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    clips = [augment(frames, state(seed)) for seed in (1, 1, 2)]
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(clips[0], clips[1])
    assert not torch.equal(clips[0], clips[2])


def test_each_part_does_its_work(frames):
    plain = ClipAugmentation((40, 60), (1.0, 1.0), False, (0, 0), 0.0)(frames, state())
    mirrored = 0
    for seed in range(20):
        as_it_is, clip = (
            ClipAugmentation((24, 32), (0.08, 1.0), f, (0, 0), 0.0)(frames, state(seed))
            for f in (False, True)
        )
        mirrored += torch.equal(clip, as_it_is.flip(2))
        assert torch.equal(clip, as_it_is) or torch.equal(clip, as_it_is.flip(2))
    assert 3 < mirrored < 17
    erased = ClipAugmentation((40, 60), (1.0, 1.0), False, (0, 0), erase=1.0)(frames, state())
    changed = (erased != plain).any(-1)[0]
    rows, columns = changed.any(1).nonzero(), changed.any(0).nonzero()
    area = (rows.max() - rows.min() + 1) * (columns.max() - columns.min() + 1)
    assert 0.02 <= area / (40 * 60) <= 0.4  # a rectangle, of torchvision's share
    assert changed.sum() > 0.95 * area
    policy = [ClipAugmentation((40, 60), (1.0, 1.0), False, (2, 9), 0.0)(frames, state(i)) for i in range(20)]
    assert sum(not torch.equal(clip, plain) for clip in policy) > 12


def test_rand_augment_is_torchvisions(frames):
    got = ClipAugmentation((40, 60), (1.0, 1.0), False, (2, 9), 0.0)(frames, state(3))
    generator = state(3)
    cropped = ClipAugmentation((40, 60), (1.0, 1.0), False, (0, 0), 0.0)(frames, generator)
    torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
    policy = v2.RandAugment(2, 9, interpolation=v2.InterpolationMode.BILINEAR)
    assert torch.equal(got, policy(cropped.permute(0, 3, 1, 2)).permute(0, 2, 3, 1))


def test_mixup_mixes_a_clip_with_its_neighbour_and_targets_are_timms():
    clips, labels = torch.randn(4, 3, 2, 8, 8), torch.tensor([0, 1, 2, 4])
    for seed in range(10):
        mixed, targets = MixAugmentation(5, mixup=0.8, cutmix=0, smoothing=0.1)(clips, labels, state(seed))
        other = clips.roll(1, 0)
        share = float(((mixed - other) / (clips - other)).median())
        torch.testing.assert_close(mixed, share * clips + (1 - share) * other, atol=1e-4, rtol=1e-4)
        # timm mixes with the flipped batch: its targets for two labels at a time
        for i in range(4):
            pair = torch.stack([labels[i], labels[i - 1]])
            expected = mixup_target(pair, 5, share, 0.1)[0]
            torch.testing.assert_close(targets[i], expected, atol=1e-4, rtol=1e-4)


def test_cutmix_pastes_one_rectangle_into_all_frames():
    clips, labels = torch.randn(4, 3, 5, 16, 16), torch.tensor([0, 1, 2, 4])
    for seed in range(10):
        mixed, targets = MixAugmentation(5, mixup=0, cutmix=1.0, smoothing=0)(clips, labels, state(seed))
        pasted = (mixed == clips.roll(1, 0)).all(1)  # [B, T, H, W]
        assert torch.equal(pasted, pasted[:1, :1].expand_as(pasted))
        kept = (mixed == clips).all(1)
        assert (kept ^ pasted).all()
        share = 1 - float(pasted[0, 0].float().mean())
        assert float(targets[1, 1]) == pytest.approx(share, abs=1e-5)
        assert torch.allclose(targets.sum(1), torch.ones(4))


def test_without_mixing_labels_are_smoothed():
    clips, labels = torch.randn(2, 3, 2, 8, 8), torch.tensor([0, 1])
    same, targets = MixAugmentation(4, 0, 0, 0.1)(clips, labels, state())
    assert torch.equal(same, clips)
    torch.testing.assert_close(targets[0], torch.tensor([0.925, 0.025, 0.025, 0.025]))
