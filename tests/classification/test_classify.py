"""A classifier's logits of a list of videos, compared with a slow loop."""

import pytest
import torch

from diffmae_video.classification.classify import classify
from diffmae_video.data import ClipSampler, Entry, VideoError, normalise, open_video
from diffmae_video.data.views import read_views
from diffmae_video.runtime.processes import Process
from tests.data.small_datasets import view_dataset
from tests.tiny_models import tiny_classifier

ALONE = Process(rank=0, world=1, device=torch.device("cpu"))
SAMPLING, SIZE = ClipSampler(4, 2, 0.0), (32, 24)  # of tiny_classifier


@pytest.fixture(scope="module")
def entries(real_clips):
    stretches = [("bikes", 0, 1), ("carphone_pristine", 0, 2), ("bikes", 2, 4), ("bigbuckbunny", 1, None)]
    return [Entry(str(real_clips[name]), start, end) for name, start, end in stretches]


def dataset(entries, temporal, spatial, policy="fail"):
    return view_dataset(entries, SAMPLING, SIZE, temporal, spatial, policy)


@torch.no_grad()
def one_by_one(model, entries, temporal, spatial):
    """The same in a loop: a video is opened, and its views go through the model one at a time."""
    model.eval()
    result = []
    for entry in entries:
        with open_video(entry.path, "pyav") as video:
            views = read_views(video, entry, SAMPLING, SIZE, temporal, spatial)
        assert views.shape == (temporal * spatial, 4, *SIZE, 3)
        result.append(torch.cat([model(normalise(view[None], model.mean, model.std)) for view in views]))
    return torch.stack(result).mean(1)


@pytest.mark.parametrize(
    ("temporal", "spatial", "batch", "workers"), [(2, 3, 4, 0), (1, 2, 5, 1), (1, 1, 16, 0)]
)
def test_logits_are_those_of_a_slow_loop(entries, temporal, spatial, batch, workers):
    model = tiny_classifier(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)).train()
    sizes = []
    hook = model.register_forward_pre_hook(lambda _, args: sizes.append(len(args[0])))
    found = classify(model, dataset(entries, temporal, spatial), ALONE, batch, workers)
    hook.remove()
    assert all(module.training for module in model.modules())
    assert max(sizes) <= batch
    assert sum(sizes) == len(entries) * temporal * spatial
    assert found.was_read.all()
    assert found.faults == [""] * len(entries)
    torch.testing.assert_close(found.logits, one_by_one(model, entries, temporal, spatial))
    assert found.logits.std(0).min() > 0.01  # which tells the videos apart


def test_one_clip_at_a_time_they_are_those_of_the_loop_bit_by_bit(entries):
    model = tiny_classifier()
    found = classify(model, dataset(entries, 2, 2), ALONE, batch=1, workers=0)
    assert torch.equal(found.logits, one_by_one(model, entries, 2, 2))


def test_a_video_that_cannot_be_read_has_its_reason_and_moves_no_other(entries, tmp_path):
    model, bad = tiny_classifier(), Entry(str(tmp_path / "none.mp4"))
    listed = [bad, entries[0], bad, entries[1], entries[2]]
    found = classify(model, dataset(listed, 1, 2, "skip"), ALONE, batch=4, workers=0)
    assert found.was_read.tolist() == [False, True, False, True, True]
    assert [bool(fault) for fault in found.faults] == [True, False, True, False, False]
    assert "none.mp4: no such file" in found.faults[0]
    assert not found.logits[~found.was_read].any()
    torch.testing.assert_close(found.logits[found.was_read], one_by_one(model, entries[:3], 1, 2))
    with pytest.raises(VideoError, match=r"none\.mp4"):
        classify(model, dataset(listed, 1, 2), ALONE, batch=4, workers=0)
