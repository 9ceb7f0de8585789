"""Classifiers in timm, transformers, ONNX and torch.export: the same logits, and the same classes."""

import json
import resource

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import load_file
from timm.models.vision_transformer import VisionTransformer

from diffmae_video import InputError
from diffmae_video.models import Classifier, Encoder
from diffmae_video.models.weights.convert import save_as
from diffmae_video.models.weights.export import save_program
from tests.models.weights.test_convert import IMAGE, SMALL, VIDEO, randomize

transformers = pytest.importorskip("transformers")

CLASSES = ["riding a bike", "texting", "ærobics"]
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def classifier(sizes, pool="mean", multi_label=False, **encoder):
    model = Classifier(
        CLASSES, **sizes, encoder={**SMALL, **encoder}, pool=pool, multi_label=multi_label, mean=MEAN, std=STD
    )
    return randomize(model)


@torch.no_grad()
@pytest.mark.parametrize(("pool", "class_token"), [("mean", False), ("mean", True), ("token", True)])
@pytest.mark.parametrize("positions", ["sincos", "learned"])
def test_to_timm(tmp_path, pool, class_token, positions):
    model = classifier(IMAGE, pool, class_token=class_token, positions=positions)
    image = torch.randn(2, 3, 32, 32)
    expected = model(image)
    assert expected.std() > 0.1
    save_as(model, tmp_path / "folder", "timm")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'folder'}", pretrained=True).eval()
    torch.testing.assert_close(theirs(image), expected, rtol=1e-5, atol=1e-5)
    assert theirs.pretrained_cfg["label_names"] == CLASSES
    data = timm.data.resolve_model_data_config(theirs)
    assert (data["mean"], data["std"], data["input_size"]) == (list(MEAN), list(STD), (3, 32, 32))

    bare = VisionTransformer(
        32, 8, num_classes=3, embed_dim=48, depth=2, num_heads=3, mlp_ratio=2.7, class_token=class_token,
        global_pool="avg" if pool == "mean" else "token",
    ).eval()  # fmt: skip
    for name, load in (("w.safetensors", load_file), ("w.pth", torch.load)):
        save_as(model, tmp_path / name, "timm")
        bare.load_state_dict(load(tmp_path / name))  # strict
        torch.testing.assert_close(bare(image), expected, rtol=1e-5, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("multi_label", [False, True])
def test_to_hugging_face_and_its_pipeline(tmp_path, multi_label):
    model = classifier(VIDEO, positions="sinusoid", multi_label=multi_label)
    save_as(model, tmp_path / "hf", "hf-videomae")
    theirs, report = transformers.VideoMAEForVideoClassification.from_pretrained(
        tmp_path / "hf", output_loading_info=True
    )
    assert not any(report.values()), report
    clip = torch.randn(2, 3, 4, 32, 32)
    torch.testing.assert_close(theirs(clip.transpose(1, 2)).logits, model(clip), rtol=1e-4, atol=1e-4)
    assert theirs.config.id2label == dict(enumerate(CLASSES))
    assert theirs.config.label2id == {name: i for i, name in enumerate(CLASSES)}

    # From frames to labels, by their own preprocessing: every frame of a clip of four. Frames, not a file,
    # which the pipeline would read with torchcodec.
    frames = (np.random.default_rng(0).random((4, 6, 6, 3)) * 255).astype(np.uint8).repeat(8, 1).repeat(8, 2)
    found = transformers.pipeline("video-classification", str(tmp_path / "hf"))(frames)
    small = torch.nn.functional.interpolate(
        torch.from_numpy(frames).permute(0, 3, 1, 2), size=(32, 32), mode="bilinear", antialias=True
    )
    pixels = (small.float() / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)
    expected = model.probabilities(model(pixels.movedim(0, 1)[None]))[0]
    assert {row["label"]: row["score"] for row in found} == pytest.approx(
        dict(zip(CLASSES, expected.tolist(), strict=True)), abs=2e-3
    )


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"positions": "sincos"}, "cannot hold this classifier: its positions are 'sincos'"),
        ({"positions": "sinusoid", "class_token": True}, "this classifier has a class token"),
        (
            {"positions": "sinusoid", "class_token": True, "pool": "token"},
            "this classifier has a class token",
        ),
    ],
)
def test_hugging_face_refuses_what_it_cannot_hold(tmp_path, kwargs, message):
    with pytest.raises(InputError, match=f"{message}.*convert it to timm, onnx or torch-export"):
        save_as(classifier(VIDEO, **kwargs), tmp_path / "hf", "hf-videomae")
    assert not list(tmp_path.iterdir())


def test_timm_refuses_a_classifier_of_videos(tmp_path):
    with pytest.raises(InputError, match="takes an image and this classifier 4 frames; convert it to onnx"):
        save_as(classifier(VIDEO), tmp_path / "timm", "timm")


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
    save_program(model, tmp_path / "model.onnx", "onnx")
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
    save_program(model, tmp_path / "model.pt2", "torch-export")
    about = {"classes": "", "mean": "", "std": ""} if kind != "encoder" else {}
    program = torch.export.load(tmp_path / "model.pt2", extra_files=about).module()
    for batch in (1, 3):
        clip = torch.randn(batch, *shape)
        torch.testing.assert_close(program(clip), model(clip), rtol=1e-5, atol=1e-5)
    if about:
        assert json.loads(about["classes"]) == CLASSES


def test_programs_are_in_float32_on_the_cpu_and_leave_the_model_as_it_is(tmp_path):
    model = classifier(IMAGE).to(torch.bfloat16).train()
    save_program(model, tmp_path / "model.pt2", "torch-export")
    assert model.training
    assert model.head.weight.dtype == torch.bfloat16
    program = torch.export.load(tmp_path / "model.pt2").module()
    image = torch.randn(1, 3, 32, 32)
    torch.testing.assert_close(program(image), model.float().eval()(image), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("save", "name", "to"),
    [
        (save_as, "w.pth", "timm"),
        (save_program, "w.pt2", "torch-export"),
        pytest.param(save_program, "w.onnx", "onnx", marks=pytest.mark.slow),
    ],
)
def test_a_disk_that_fills_up_is_an_error_and_leaves_nothing(tmp_path, save, name, to):
    """Of a file that may not grow, since a full disk takes rights to make."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            save(classifier(IMAGE), tmp_path / name, to)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("path", "to"), [("folder", "onnx"), ("w.onnx", "torch-export"), ("w.pt", "torch-export")]
)
def test_a_wrong_ending_is_named(tmp_path, path, to):
    with pytest.raises(InputError, match=r"is a file; give one that ends in \.(onnx|pt2)"):
        save_program(classifier(IMAGE), tmp_path / path, to)
    assert not list(tmp_path.iterdir())


def test_what_onnx_cannot_hold_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("diffmae_video.models.weights.export.LARGEST", 1000)
    with pytest.raises(InputError, match=r"an ONNX file holds 2 GB .* use torch-export"):
        save_program(classifier(IMAGE), tmp_path / "w.onnx", "onnx")
