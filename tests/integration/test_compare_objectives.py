"""ddpm, adm and igpt by the commands: pre-trained on a folder of pictures, fine-tuned and probed."""

import json

import numpy as np
import pytest
import torch
from PIL import Image

from diffmae_video import load_model
from tests.calls import diffmae
from tests.integration.runs import rows
from tests.repository import ROOT

TINY = [
    *("DATA.SIZE", 16, "DATA.WORKERS", 1, "TRAIN.BATCH_SIZE", 4, "TRAIN.WARMUP_STEPS", 1),
    *("TRAIN.PRECISION", "fp32", "TRAIN.LOG_EVERY", 1, "VALIDATION.CLIPS", 8, "VALIDATION.PICTURES", 1),
]
MODEL = {
    "ddpm": ["MODEL.ENCODER.WIDTH", 32, "MODEL.ENCODER.DEPTH", 2],
    "adm": ["MODEL.ADM.WIDTH", 32, "MODEL.ADM.MULTIPLIERS", "1,2", "MODEL.ADM.ATTENTION", "8"],
    "igpt": ["MODEL.ENCODER.WIDTH", 32, "MODEL.ENCODER.DEPTH", 2, "MODEL.IGPT.COLOURS", 16],
}


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Two classes of twelve pictures, dark and bright noise."""
    folder, chance = tmp_path_factory.mktemp("pictures"), np.random.default_rng(0)
    for name, low in (("dark", 0), ("bright", 150)):
        (folder / name).mkdir()
        for i in range(12):
            picture = chance.integers(low, low + 100, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(picture).save(folder / name / f"{i}.png")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("objective", MODEL)
def test_pre_trained_fine_tuned_and_probed(tmp_path, pictures, objective):
    config = ROOT / f"configs/compare/cifar10/{objective}.yaml"
    data = ("DATA.TRAIN", pictures, "DATA.VAL", pictures)
    run = tmp_path / "run"
    common = [*TINY, *MODEL[objective], *data]
    options = ("TRAIN.MAX_STEPS", 2, "VALIDATION.EVERY_STEPS", 2, "DIFFUSION.TIMESTEPS", 10, *common)
    done = diffmae("pretrain", "--config", config, "--output", run, *options)
    assert done.returncode == 0, done.stderr
    figures = rows(run, "validation.jsonl")[-1]
    assert ("loss_t9" in figures) == (objective != "igpt")
    assert "knn" in figures
    goes_on = ("TRAIN.MAX_STEPS", 3, *options[2:])
    done = diffmae("pretrain", "--config", config, "--output", run, "--resume", *goes_on)
    assert done.returncode == 0, done.stderr
    assert [row["step"] for row in rows(run)] == [1, 2, 3]
    model = load_model(run)
    tokens = model.encode(torch.zeros(1, 3, 1, 16, 16))
    assert tokens.isfinite().all()
    if objective == "igpt":
        assert len(model.encoder.palette.unique(dim=0)) == 16

    tuning = f"finetune_{objective}" if objective != "ddpm" else "finetune"
    config = ROOT / f"configs/compare/cifar10/{tuning}.yaml"
    tuned = tmp_path / "tuned"
    done = diffmae(
        *("finetune", "--config", config, "--init", run, "--output", tuned, "TRAIN.MAX_STEPS", 2, *common)
    )
    assert done.returncode == 0, done.stderr
    classifier = load_model(tuned)
    assert classifier.classes == ["bright", "dark"]
    assert "top1" in rows(tuned, "validation.jsonl")[-1]
    for part, is_same in (("encoder", False), ("palette", True)):
        theirs = {k: v for k, v in model.state_dict().items() if k.startswith("encoder") and part in k}
        ours = classifier.state_dict()
        changed = [k for k in theirs if k in ours and not torch.equal(ours[k], theirs[k])]
        assert bool(changed) != is_same
    done = diffmae("probe", "--checkpoint", run, "--kind", "knn", *data)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["knn"] > 0.8  # dark and bright
    assert ("layer" in found) == (objective == "igpt")
