"""Measures how well the features of a frozen model separate the classes of a labelled list.

    diffmae probe --checkpoint runs/vit_b DATA.TRAIN train.csv DATA.VAL val.csv
    diffmae probe --checkpoint videomae.pth --kind attentive DATA.TRAIN train/ DATA.VAL val/
    diffmae probe --checkpoint runs/vit_b/checkpoints/step_00001000 --kind linear \\
        DATA.TRAIN train.csv DATA.VAL val.csv DATA.STRIDE 2

--checkpoint is any model or weights that diffmae features takes, and clips are sampled as described there,
one per video. Features are computed once for all kinds of probe:

    linear     logistic regression on the standardised mean over the tokens, trained to convergence; its
               weight penalty is chosen on a held-out fifth of DATA.TRAIN
    attentive  a learned query that attends to all tokens, an MLP and a linear layer (V-JEPA), trained with
               AdamW on batches of 64 for 20 epochs; small lists for up to 200 epochs or 1,000 steps. Keeps
               all tokens in memory: 4.8 MB for a video of 1,568 tokens that are 768 wide
    knn        votes of the 20 nearest videos of DATA.TRAIN by cosine similarity, at temperature 0.07;
               nothing is trained

iGPT's features come from one layer: MODEL.IGPT.LAYER, or by default the layer with the best k-NN accuracy on
a held-out fifth of DATA.TRAIN. It is then named as well.

TRAIN.SEED seeds the choice of the fifth, the probe's weights and the order of batches: the same seed gives
the same figures. A video that cannot be read is named on stderr and left out. Prints the accuracy of each
kind from 0 to 1, classes, train and val (videos that were read), and dim (width of the features); if the
output is not a terminal, as one JSON object in its last line.
"""

from diffmae_video.cli import print_result, tool_parser, weights_path


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="PATH",
        type=weights_path,
        help="weights: a folder, a file, or a name on the Hugging Face hub",
    )
    parser.add_argument(
        "--kind",
        choices=("linear", "attentive", "knn", "all"),
        default="all",
        help="(default: all)",
    )
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the run's")
    args = parser.parse_intermixed_args()

    from diffmae_video.evaluation.probe import KINDS, probe

    print_result(probe(args.checkpoint, args.options, KINDS if args.kind == "all" else (args.kind,)))
