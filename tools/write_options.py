"""Writes docs/options.md, the reference of all options, from their declarations in diffmae_video/options.py.

python tools/write_options.py              writes the file
python tools/write_options.py --check      exits with 1 if the file is out of date
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from diffmae_video.build import OBJECTIVES
from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.decoding import BACKENDS
from diffmae_video.diffusion import SCHEDULES, TIMESTEP_DRAWS, WEIGHTINGS
from diffmae_video.files import write_text
from diffmae_video.mask_kinds import MASKS
from diffmae_video.models.block_kinds import BLOCKS
from diffmae_video.models.classifier import POOLS
from diffmae_video.models.decoder import DECODERS
from diffmae_video.models.denoising import PREDICTIONS
from diffmae_video.models.encoder import ENCODER_SIZES
from diffmae_video.models.layers import POSITIONS
from diffmae_video.options import OPTIONS, SECTIONS, Option

PAGE = Path(__file__).resolve().parent.parent / "docs/options.md"
INTRODUCTION = """# Options

A recipe sets options by section, and the command line sets them as `KEY VALUE` pairs after the flags:

    diffmae pretrain --config k400/pretrain_vit_b TRAIN.BATCH_SIZE 16 DATA.SIZE 112

`_BASE_: other.yaml` in a recipe starts from another one. Lists are written `[64, 96]` or `64,96`; a single
number fills a list of fixed length. A run's resolved options are in its `config.yaml`.

`make docs-options` writes this page from `diffmae_video/options.py`."""
# Names that belong to the code that uses them, so that a new mask or reader needs no edit of the options.
NAMES: Mapping[str, Sequence[str]] = {
    "MODEL.OBJECTIVE": tuple(OBJECTIVES),
    "MODEL.PREDICTION": PREDICTIONS,
    "MODEL.BLOCK": BLOCKS,
    "MODEL.ENCODER.SIZE": tuple(ENCODER_SIZES),
    "MODEL.ENCODER.POSITIONS": POSITIONS,
    "MODEL.DECODER.KIND": DECODERS,
    "MODEL.DECODER.POSITIONS": ("sincos", "sharp", "rope"),
    "MASK.KIND": MASKS,
    "DIFFUSION.SCHEDULE": SCHEDULES,
    "DIFFUSION.DRAW": TIMESTEP_DRAWS,
    "DIFFUSION.WEIGHTING": WEIGHTINGS,
    "DATA.BACKEND": tuple(BACKENDS),
    "FINETUNE.POOL": POOLS,
}


def options_page() -> str:
    """The reference in Markdown: a table of each section's options."""
    parts = [INTRODUCTION]
    for section, meaning in SECTIONS.items():
        rows = [_row(key, option) for key, option in OPTIONS.items() if key.split(".")[0] == section]
        head = ["| option | default | values | meaning |", "|---|---|---|---|"]
        parts.append("\n".join([f"## {section}", "", meaning, "", *head, *rows]))
    return "\n\n".join(parts) + "\n"


def _row(key: str, option: Option) -> str:
    names = option.choices or NAMES.get(key, ())
    values = ", ".join(f"`{name}`" for name in names) or ", ".join(
        part for part in (option.kind, option.bounds) if part
    )
    unit = f" ({option.unit})" if option.unit else ""
    return f"| `{key}` | {_as_yaml(option.default)} | {values}{unit} | {option.meaning} |"


def _as_yaml(value: object) -> str:
    if value == "":
        return "empty"
    if isinstance(value, list):
        return f"`[{', '.join(str(entry) for entry in value)}]`"
    if isinstance(value, float) and value >= 1e6:
        return f"`{value:.0e}`".replace("+", "")
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--check", action="store_true", help="exit with 1 if the file is out of date")
    if not parser.parse_args().check:
        write_text(PAGE, options_page())
    elif PAGE.read_text(encoding="utf-8") != options_page():
        print(f"{PAGE}: out of date; run make docs-options", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run_tool(main)
