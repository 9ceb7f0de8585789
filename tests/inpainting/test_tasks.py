"""What each inpainting task hides of a clip."""

import pytest
import torch

from diffmae_video import InputError
from diffmae_video.inpainting.tasks import TASKS, check_tasks
from diffmae_video.randomness import random_state

GRID = (4, 4, 4)


@pytest.mark.parametrize(
    ("name", "share"), [("random75", 48), ("random90", 58), ("tube", 48), ("center", 16), ("future", 32)]
)
def test_each_task_hides_its_share(name, share):
    hidden = TASKS[name].draw(GRID, random_state(0)).to_bool()[0]
    assert int(hidden.sum()) == share
    if name in ("tube", "center"):
        assert torch.equal(hidden, hidden[:1].expand_as(hidden))
    if name == "future":
        assert not hidden[:2].any()


def test_unknown_and_impossible_tasks_are_refused():
    check_tasks(list(TASKS), GRID)
    with pytest.raises(InputError, match="unknown task 'hole'; choose from random75, random90"):
        check_tasks(["hole"], GRID)
    with pytest.raises(InputError, match="task future is impossible on a grid of"):
        check_tasks(["future"], (1, 4, 4))
