"""Writes the features of videos or pictures by a frozen model: one vector each, or all patch tokens.

    diffmae features --checkpoint runs/vit_b --input videos/ --output features.safetensors
    diffmae features --checkpoint videomae.pth --input train.csv --output train.npz --views 5,3
    diffmae features --checkpoint mae_b.pth --input photo.jpg --output tokens.npz --tokens
    diffmae features --checkpoint runs/vit_b/checkpoints/step_00001000 --input clip.mp4 \\
        --output clip.npz DATA.STRIDE 2

--checkpoint is a folder of this project, or weights of MAE, MAE-ST, VideoMAE, Hugging Face's VideoMAE or
timm. --input is a list or folder, as for DATA.TRAIN, or one video or picture. Pictures in a folder are read
if the model takes one frame. Features are the mean over the encoder's patch tokens (for a fine-tuned
classifier: what its head sees), in float32, averaged over the views. The run's config.yaml says how clips
are sampled; without one the defaults do, with the model's own size, number of frames, mean and std. KEY
VALUE changes options. Weights that do not state their number of attention heads need MODEL.ENCODER.HEADS.

    numpy.load(FILE)         features [n, D], with --tokens [n, N, D]; paths [n]; labels [n], empty if none
    safetensors              features; paths and labels are JSON lists in the metadata

A video that cannot be read is named on stderr and left out, and the last line says how many were. The exit
code is 2 only if no video can be read.
"""

from diffmae_video.cli import tool_parser, weights_path
from diffmae_video.errors import InputError


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="PATH",
        type=weights_path,
        help="weights: a folder, a file, or a name on the Hugging Face hub",
    )
    parser.add_argument("--input", required=True, metavar="PATH", help="a list, a folder or a file")
    parser.add_argument("--output", required=True, metavar="FILE", help=".npz or .safetensors")
    parser.add_argument("--tokens", action="store_true", help="write all patch tokens instead of their mean")
    parser.add_argument(
        "--views", default="1,1", metavar="N,M", help="clips over time, crops of each clip (default: 1,1)"
    )
    parser.add_argument(
        "--batch", type=int, metavar="N", help="clips per forward pass (default: EVALUATION.BATCH_SIZE)"
    )
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the run's")
    args = parser.parse_intermixed_args()
    try:
        temporal, spatial = map(int, args.views.split(","))
    except ValueError as error:
        raise InputError(f"--views takes two whole numbers such as 5,3, got {args.views!r}") from error

    from diffmae_video.evaluation.features import write_features

    print(
        write_features(
            args.checkpoint,
            args.input,
            args.output,
            args.options,
            (temporal, spatial),
            args.batch,
            args.tokens,
        )
    )
