"""Models as programs: onnxruntime and torch.export give the same."""

import json
import resource

import numpy as np
import pytest
import torch

from diffmae_video import InputError
from diffmae_video.models import Encoder
from diffmae_video.models.weights.convert import save_as
from tests.models.weights.random_models import CLASSES, IMAGE, MEAN, SMALL, STD, VIDEO, classifier, randomize


def program_of(kind):
    """A model with nothing at its defaults, and the shape of what it takes."""
    if kind == "image":
        return classifier(IMAGE, depth=1), (3, 32, 32)
    if kind == "encoder":
        return randomize(Encoder(**VIDEO, **{**SMALL, "depth": 1}, class_token=True)), (3, 4, 32, 32)
    return classifier(VIDEO, "token", class_token=True, positions="learned", depth=1), (3, 4, 32, 32)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["video", "image", pytest.param("encoder", marks=pytest.mark.slow)])
def test_onnxruntime_gives_the_same(tmp_path, kind):
    onnxruntime = pytest.importorskip("onnxruntime")
    model, shape = program_of(kind)
    save_as(model, tmp_path / "model.onnx", "onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        clip = torch.randn(batch, *shape)
        found = session.run(None, {"image" if kind == "image" else "clip": clip.numpy()})[0]
        np.testing.assert_allclose(found, model(clip).numpy(), rtol=1e-4, atol=1e-4)
    about = session.get_modelmeta().custom_metadata_map
    assert [output.name for output in session.get_outputs()] == ["tokens" if kind == "encoder" else "logits"]
    if kind != "encoder":
        assert json.loads(about["classes"]) == CLASSES
        assert json.loads(about["multi_label"]) is False
        assert (json.loads(about["mean"]), json.loads(about["std"])) == (list(MEAN), list(STD))


@torch.no_grad()
@pytest.mark.parametrize("kind", ["video", "encoder"])
def test_torch_export_gives_the_same(tmp_path, kind):
    model, shape = program_of(kind)
    save_as(model, tmp_path / "model.pt2", "torch-export")
    about = {"classes": "", "mean": "", "std": ""} if kind != "encoder" else {}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=about).module()
    for batch in (1, 3):
        clip = torch.randn(batch, *shape)
        torch.testing.assert_close(program(clip), model(clip), rtol=1e-5, atol=1e-5)
    if about:
        assert json.loads(about["classes"]) == CLASSES


def test_programs_are_in_float32_on_the_cpu_and_leave_the_model_as_it_is(tmp_path):
    model = classifier(IMAGE).to(torch.bfloat16).train()
    save_as(model, tmp_path / "model.pt2", "torch-export")
    assert model.training
    assert model.head.weight.dtype == torch.bfloat16
    program = torch.export.load(tmp_path / "model.pt2").module()
    image = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(program(image), model.float().eval()(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "to"),
    [
        ("w.pth", "timm"),
        ("w.pt2", "torch-export"),
        pytest.param("w.onnx", "onnx", marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_fills_up_is_an_error_and_leaves_nothing(tmp_path, name, to):
    """The size of files is limited, because filling a disk needs rights."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save_as(classifier(IMAGE), tmp_path / name, to)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("path", "to"), [("folder", "onnx"), ("w.onnx", "torch-export"), ("w.pt", "torch-export")]
)
def test_a_wrong_ending_is_named(tmp_path, path, to):
    with pytest.raises(InputError, match=r"is a file; give a path that ends in \.(onnx|pt2)"):
        save_as(classifier(IMAGE), tmp_path / path, to)
    assert not list(tmp_path.iterdir())


def test_what_onnx_cannot_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("diffmae_video.models.weights.programs.LARGEST_ONNX", 1000)
    with pytest.raises(InputError, match=r"an ONNX file holds 2 GB, .*; use torch-export"):
        save_as(classifier(IMAGE), tmp_path / "w.onnx", "onnx")
