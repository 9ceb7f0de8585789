"""The config: what merges, and what is refused with the nearest key."""

import math

import pytest

from diffmae_video import InputError, build_model, load_config
from diffmae_video.config import list_recipes


def write(tmp_path, text, name="recipe.yaml"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_base_file_overrides_and_kinds(tmp_path):
    write(tmp_path, "TRAIN: {BASE_LR: 2, MAX_STEPS: 1e3}\nDATA: {SIZE: 96}\n", "base.yaml")
    path = write(tmp_path, "_BASE_: base.yaml\nMASK: {RATIO: 0.5}\nDATA: {TRAIN: 123}\n")
    cfg = load_config(
        path, ["TRAIN.EPOCHS", "1e1", "DATA.SIZE", "[64, 32]", "DATA.FLIP", "false", "DATA.VAL", 7]
    )
    assert isinstance(cfg.TRAIN.BASE_LR, float)
    assert cfg.TRAIN.BASE_LR == 2.0
    assert cfg.TRAIN.MAX_STEPS == 1000
    assert cfg.TRAIN.EPOCHS == 10
    assert cfg.DATA.SIZE == [64, 32]
    assert cfg.DATA.FLIP is False
    assert cfg.DATA.TRAIN == "123"
    assert cfg.DATA.VAL == "7"
    assert cfg.MASK.RATIO == 0.5
    assert load_config(path).DATA.SIZE == [96, 96]
    assert load_config(path, ["EVALUATION.VIEWS", "5,3"]).EVALUATION.VIEWS == [5, 3]


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (
            "MODEL: {DECODRE: {KIND: cross}}",
            [],
            "unknown config key MODEL.DECODRE.KIND; did you mean MODEL.DECODER.KIND",
        ),
        ("", ["MASK.RATO", "0.5"], "command line: unknown config key MASK.RATO; did you mean MASK.RATIO"),
        ("", ["TRAIN", "3"], "unknown config key TRAIN"),
        ("", ["XYZZY", "3"], "there are MODEL, MASK"),
        ("", ["TRAIN.EPOCHS"], "'TRAIN.EPOCHS' has no partner"),
        ("", ["TRAIN.EPOCHS", "many"], "TRAIN.EPOCHS takes a whole number, got 'many'"),
        ("", ["TRAIN.EPOCHS", "1.5"], "a whole number"),
        ("", ["DATA.FLIP", "3"], "takes true or false"),
        ("", ["DATA.SIZE", "[1,2,3]"], "takes 2 whole numbers"),
        ("", ["TRAIN.MAX_STEPS", ".inf"], "TRAIN.MAX_STEPS takes a whole number"),
        ("", ["DIFFUSION.RHO", "1e400"], "DIFFUSION.RHO takes a number"),
        ("", ["TRAIN.BATCH_SIZE", "0"], "TRAIN.BATCH_SIZE: must be 1 or more, got 0"),
        ("", ["MODEL.PATCH", "[2, 0, 16]"], "MODEL.PATCH: must be 1 or more"),
        ("", ["TRAIN.SEED", "-1"], "TRAIN.SEED: must be 0 or more"),
        ("", ["DATA.STD", "0"], "DATA.STD: must be above 0"),
        ("", ["DATA.CROP_SCALE", "[2, 3]"], "DATA.CROP_SCALE: must be above 0 and at most 1"),
        ("", ["DATA.CROP_SCALE", "[1, 0.5]"], "DATA.CROP_SCALE: must be in ascending order"),
        ("", ["DATA.TIMEOUT", "0"], "DATA.TIMEOUT: must be above 0 seconds, got 0.0"),
        ("", ["FINETUNE.RAND_AUGMENT", "2,31"], "FINETUNE.RAND_AUGMENT: must be from 0 to 30"),
        (
            "",
            ["COMPARE.UNIT", "hours"],
            "COMPARE.UNIT: unknown value 'hours'; there are flops, seconds, pictures",
        ),
        ("", ["MODEL.ADM.MULTIPLIERS", "1,x"], "MODEL.ADM.MULTIPLIERS takes a list of whole numbers"),
        ("MODEL: [", [], "not a YAML config"),
        ("just words", [], "not a YAML config"),
        ("_BASE_: nowhere.yaml", [], "not a YAML config"),
        ("A: !!python/object/apply:os.system ['true']", [], "not a YAML config"),
    ],
)
def test_mistakes_are_named(tmp_path, text, overrides, message):
    with pytest.raises(InputError, match=message):
        load_config(write(tmp_path, text), overrides)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match="no such config file"):
        load_config(tmp_path / "none.yaml")


def test_build_model_reads_every_section(tmp_path):
    cfg = load_config(
        write(tmp_path, ""),
        [
            "MODEL.ENCODER.SIZE",
            "S",
            "MODEL.ENCODER.DEPTH",
            "2",
            "MODEL.DECODER.DEPTH",
            "1",
            "MODEL.DECODER.KIND",
            "cross",
            "DATA.SIZE",
            "32",
            "DATA.NUM_FRAMES",
            "4",
            "DIFFUSION.SCHEDULE",
            "cosine",
            "DIFFUSION.RHO",
            "1",
            "MASK.KIND",
            "tube",
        ],
    )
    model = build_model(cfg)
    assert (model.encoder.width, model.encoder.depth, model.encoder.grid) == (384, 2, (2, 2, 2))
    assert (model.decoder.kind, len(model.decoder.blocks)) == ("cross", 1)
    assert (model.schedule.kind, model.schedule.rho) == ("cosine", 1.0)
    assert model.mask == {"kind": "tube", "ratio": 0.9}
    assert (model.schedule.draw, model.weighting) == ("uniform", "x0")
    learning = load_config(
        write(tmp_path, ""), ["DIFFUSION.DRAW", "logit_normal", "DIFFUSION.WEIGHTING", "v"]
    )
    assert (build_model(learning).schedule.draw, build_model(learning).weighting) == ("logit_normal", "v")
    for key, value in (
        ("MODEL.OBJECTIVE", "gan"),
        ("MODEL.ENCODER.SIZE", "XL"),
        ("MODEL.DECODER.KIND", "none"),
    ):
        with pytest.raises(InputError, match="unknown"):
            build_model(load_config(write(tmp_path, ""), [key, value]))
    assert math.prod(model.patch) == 512


def test_a_recipe_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("k400/pretrain_vit_b", "k400/pretrain_vit_b.yaml", "configs/k400/pretrain_vit_b.yaml"):
        assert load_config(name).MODEL.ENCODER.SIZE == "B"
    (tmp_path / "k400").mkdir()
    write(tmp_path / "k400", "MODEL: {ENCODER: {SIZE: S}}", "pretrain_vit_b.yaml")
    assert load_config("k400/pretrain_vit_b.yaml").MODEL.ENCODER.SIZE == "S"  # a file comes before a name
    with pytest.raises(InputError, match="did you mean k400/pretrain_vit_b"):
        load_config("k400/pretrain_vitb")


def test_each_recipe_opens_with_what_it_is():
    assert len(list_recipes()) > 80
    for name, summary in list_recipes().items():
        assert len(summary) > 10, name


@pytest.mark.parametrize(
    ("text", "kinds"),
    [("", []), ("[]", []), ("box", ["box"]), ("[box, tube]", ["box", "tube"]), ("box,tube", ["box", "tube"])],
)
def test_a_list_that_is_empty_by_default_takes_names(tmp_path, text, kinds):
    given, written = (
        load_config(write(tmp_path, ""), ["MASK.MIX", text]),
        load_config(write(tmp_path, f"MASK:\n  MIX: {kinds}\n")),
    )
    assert given.MASK.MIX == written.MASK.MIX == kinds
