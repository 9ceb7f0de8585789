"""diffmae convert-weights as a user calls it: weights go round, and mistakes are one clear line."""

import functools

import pytest
import timm
import torch

from diffmae_video import load_config, load_encoder
from diffmae_video.build import build_classifier, build_model
from diffmae_video.models import Classifier, Encoder
from tests.calls import diffmae
from tests.repository import ROOT
from tests.tiny_models import tiny_diffmae


@pytest.fixture
def convert():
    return functools.partial(diffmae, "convert-weights")


def save(folder, **kwargs):
    encoder = Encoder(
        (32, 32), 4, (2, 8, 8), 64, 2, 4, class_token=kwargs.pop("class_token", False), **kwargs
    )
    encoder.save_pretrained(folder)
    return encoder.eval()


def test_a_video_model_goes_to_timm_and_back(tmp_path, convert):
    model = tiny_diffmae("cross")
    model.save_pretrained(tmp_path / "diffmae")
    code, out, _ = convert("--input", tmp_path / "diffmae", "--output", tmp_path / "timm", "--to", "timm")
    assert code == 0
    assert (
        out
        == f"{tmp_path / 'timm'}: timm, clips 1 x 32 x 32, patches 1 x 8 x 8, width 32, 3 blocks, 2 heads\n"
    )
    image = torch.randn(2, 3, 32, 32)
    expected = model.encode(image[:, :, None].expand(-1, -1, 2, -1, -1))  # a still clip of one patch
    vit = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    torch.testing.assert_close(vit.forward_features(image), expected, rtol=1e-5, atol=1e-5)

    back = (
        "--input",
        tmp_path / "timm",
        "--output",
        tmp_path / "back",
        "--to",
        "diffmae",
        "--num-frames",
        "4",
    )
    assert convert(*back)[0] == 0
    still = image[:, :, None].expand(-1, -1, 4, -1, -1)
    # in double precision: another batch of the same rows may be rounded in another order
    tokens = load_encoder(tmp_path / "back").double().embed(still.double()).unflatten(1, (2, 16))
    images = load_encoder(tmp_path / "timm").double().embed(image[:, :, None].double())
    torch.testing.assert_close(tokens, images[:, None].expand_as(tokens), rtol=0, atol=1e-6)


def test_to_hugging_face_and_back(tmp_path, convert):
    transformers = pytest.importorskip("transformers")
    encoder = save(tmp_path / "ours", positions="sinusoid")
    assert convert("--input", tmp_path / "ours", "--output", tmp_path / "hf", "--to", "hf-videomae")[0] == 0
    assert convert("--input", tmp_path / "hf", "--output", tmp_path / "back", "--to", "diffmae")[0] == 0
    clip = torch.randn(1, 3, 4, 32, 32)
    model = transformers.VideoMAEModel.from_pretrained(tmp_path / "hf").eval()
    with torch.no_grad():
        expected = encoder(clip)
        theirs = model(clip.transpose(1, 2)).last_hidden_state
        ours = load_encoder(tmp_path / "back")(clip)
    torch.testing.assert_close(theirs, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)


def test_heads_sizes_and_source_can_be_given(tmp_path, convert):
    encoder = save(tmp_path / "ours", positions="learned", class_token=True)
    torch.save({"model": encoder.state_dict()}, tmp_path / "w.pth")
    options = ["--num-heads", "4", "--image-size", "32", "16", "--num-frames", "8", "--source", "diffmae"]
    files = ["--input", tmp_path / "w.pth", "--output", tmp_path / "out", "--to", "diffmae"]
    assert convert(*files, *options, "--eps", "1e-5")[0] == 0
    again = load_encoder(tmp_path / "out")
    assert (again.grid, again.blocks[0].attn.num_heads, again.norm.eps) == ((4, 4, 2), 4, 1e-5)
    for module in encoder.modules():
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 1e-5
    clip = torch.randn(1, 3, 8, 32, 16)
    torch.testing.assert_close(again(clip), encoder(clip), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--input", "none", "--output", "out", "--to", "timm"], "none: no such file or folder"),
        (["--input", "text.pth", "--output", "out", "--to", "timm"], "text.pth: not a whole checkpoint"),
        (["--input", "w.pth", "--output", "out", "--to", "timm"], "w.pth: not the weights of"),
        (
            ["--input", "ours", "--output", "out", "--to", "hf-videomae"],
            "cannot hold this encoder: VideoMAE has no class token",
        ),
        (["--input", "ours", "--output", "ours", "--to", "diffmae"], "would replace the input"),
        (
            ["--input", "ours", "--output", "ours/model.safetensors", "--to", "timm"],
            "would replace the input",
        ),
        (
            ["--input", "ours/model.safetensors", "--output", "ours", "--to", "timm"],
            "would replace the input",
        ),
        (["--input", "ours", "--output", "out.pth", "--to", "diffmae"], "give a folder"),
        (["--input", "ours", "--output", "text.pth/out", "--to", "diffmae"], "text.pth"),
        (
            ["--input", "ours", "--output", "out", "--to", "timm", "--num-frames", "4"],
            "timm's ViT takes images",
        ),
        (["--input", "ours", "--output", "out", "--to", "diffmae", "--source", "dino"], "of dino"),
        (
            ["--input", "ours", "--output", "out", "--to", "diffmae", "--image-size", "1", "2", "3"],
            "--image-size takes",
        ),
        (
            ["--input", "ours", "--output", "out", "--to", "diffmae", "--image-size", "30"],
            "height 30 is not a multiple",
        ),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, convert, arguments, message):
    monkeypatch.chdir(tmp_path)
    save("ours", class_token=True)
    (tmp_path / "text.pth").write_text("no weights")
    torch.save({"model": {"conv1.weight": torch.zeros(1)}}, "w.pth")
    before = (tmp_path / "ours/model.safetensors").read_bytes()
    code, out, err = convert(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1
    assert (tmp_path / "ours/model.safetensors").read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "text.pth", "w.pth"]


@pytest.mark.parametrize("wrong", [["--to", "tflite"], ["--into", "timm"], []])
def test_a_wrong_flag_is_a_usage_error(convert, wrong):
    code, _, err = convert("--input", "a", "--output", "b", *wrong)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert err.startswith("error: ")
    assert "see diffmae convert-weights --help" in err


def test_a_classifier_goes_with_its_head_and_card(tmp_path, convert):
    model = Classifier(["a", "b"], (32, 32), 1, (1, 8, 8), {"width": 64, "depth": 1, "heads": 1}).eval()
    torch.nn.init.normal_(model.head.weight)
    model.save_pretrained(tmp_path / "run")
    (tmp_path / "run/config.yaml").write_text("")
    image = torch.randn(2, 3, 32, 32)
    code, out, err = convert("--input", tmp_path / "run", "--output", tmp_path / "timm", "--to", "timm")
    assert (code, err) == (0, "")
    assert out.endswith("1 blocks, 1 heads, 2 classes\n")
    theirs = timm.create_model(f"local-dir:{tmp_path / 'timm'}", pretrained=True).eval()
    torch.testing.assert_close(theirs(image), model(image), rtol=1e-5, atol=1e-5)
    assert "library_name: timm" in (tmp_path / "timm/README.md").read_text()

    file = tmp_path / "model.pt2"
    assert convert("--input", tmp_path / "run", "--output", file, "--to", "torch-export")[0] == 0
    torch.testing.assert_close(torch.export.load(file).module()(image), model(image), rtol=1e-5, atol=1e-5)

    code, _, err = convert(
        "--input", tmp_path / "run", "--output", tmp_path / "x", "--to", "timm", "--image-size", "64"
    )
    assert code == 2
    assert "is a classifier, which is converted as it is" in err


def test_models_of_the_recipe_for_hugging_face_go_there(tmp_path, convert):
    transformers = pytest.importorskip("transformers")
    small = ["DATA.SIZE", 32, "DATA.NUM_FRAMES", 4, "MODEL.PATCH", [2, 8, 8]]
    encoder = ["MODEL.ENCODER.WIDTH", 64, "MODEL.ENCODER.DEPTH", 2, "MODEL.ENCODER.HEADS", 2]
    decoder = ["MODEL.DECODER.WIDTH", 32, "MODEL.DECODER.DEPTH", 1, "MODEL.DECODER.HEADS", 1]
    recipe = load_config(ROOT / "configs/k400/pretrain_vit_b_videomae.yaml", [*small, *encoder, *decoder])
    model = build_model(recipe)
    model.save_pretrained(tmp_path / "pretrained")
    init = ["FINETUNE.INIT", str(tmp_path / "pretrained")]
    recipe = load_config(ROOT / "configs/k400/finetune_vit_b.yaml", [*small, *init])
    classifier = build_classifier(recipe, ["jump", "run"]).eval()
    torch.nn.init.normal_(classifier.head.weight)
    classifier.save_pretrained(tmp_path / "best")
    clip = torch.randn(1, 3, 4, 32, 32)
    for name, kind in (("pretrained", "VideoMAEModel"), ("best", "VideoMAEForVideoClassification")):
        output = tmp_path / f"{name}_hf"
        code, _, err = convert("--input", tmp_path / name, "--output", output, "--to", "hf-videomae")
        assert code == 0, err
        theirs = getattr(transformers, kind).from_pretrained(output).eval()(clip.transpose(1, 2))
        ours, peer = (
            (classifier(clip), theirs.logits)
            if name == "best"
            else (model.encode(clip), theirs.last_hidden_state)
        )
        torch.testing.assert_close(peer, ours, rtol=1e-4, atol=1e-4)
