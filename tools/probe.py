"""Measures how well a frozen model's features tell the classes of a labelled list.

    python tools/probe.py --checkpoint runs/vit_b DATA.TRAIN train.csv DATA.VAL val.csv
    python tools/probe.py --checkpoint videomae.pth --kind attentive DATA.TRAIN train/ DATA.VAL val/
    python tools/probe.py --checkpoint runs/vit_b/checkpoints/step_00001000 --kind linear \\
        DATA.TRAIN train.csv DATA.VAL val.csv DATA.STRIDE 2

--checkpoint is what tools/features.py takes, and clips are sampled as it says; of each video one clip is
looked at. Features are computed once for all kinds:

    linear     logistic regression on the mean over the tokens, standardised, to convergence; its weight
               decay is chosen on a fifth of TRAIN that is held out
    attentive  a learned query that attends to all tokens, an MLP and a linear layer (V-JEPA); AdamW for 20
               epochs of batches of 64, 1,000 steps or more. It keeps all tokens in memory: a video of
               1,568 tokens 768 wide takes 4.8 MB
    knn        votes of the 20 nearest of TRAIN by cosine, at temperature 0.07; nothing is trained

Of iGPT the features are those of one layer: MODEL.IGPT.LAYER, or by default the one whose neighbours are
right most often on a fifth of TRAIN that is held out; the JSON object names it.

TRAIN.SEED is that of the fifth, the weights and the order: the same seed, the same figures. A video that
cannot be read is named on stderr and left out. The last line of output is one JSON object: an accuracy from
0 to 1 for each kind, classes, train and val (videos that were read), and dim.
"""

from __future__ import annotations

import json

from diffmae_video.cli import run_tool, tool_parser


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--checkpoint", required=True, metavar="PATH", help="a file or folder of weights")
    parser.add_argument(
        "--kind", choices=("linear", "attentive", "knn", "all"), default="all", help="(default: all)"
    )
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the run's")
    args = parser.parse_intermixed_args()

    from diffmae_video.evaluation.probe import KINDS, probe

    print(json.dumps(probe(args.checkpoint, args.options, KINDS if args.kind == "all" else (args.kind,))))


if __name__ == "__main__":
    run_tool(main)
