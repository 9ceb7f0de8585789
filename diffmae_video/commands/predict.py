"""Predicts the classes of videos or pictures, and can draw them into a copy.

    diffmae predict --checkpoint runs/finetuned --input film.mp4
    diffmae predict --checkpoint runs/finetuned --input film.mp4 --output labelled.mp4 --topk 3
    diffmae predict --checkpoint runs/finetuned --input films/ --output labelled/
    diffmae predict --checkpoint runs/pretrained --knn labelled.csv --input film.mp4

--checkpoint is a folder that diffmae finetune wrote. Its config.yaml says how clips are sampled. The
probabilities of a video are those of the averaged logits of --views clips, spread evenly over it.

With --knn nothing is trained: the labelled videos whose features are most similar vote. --checkpoint is then
any model or weights that diffmae features takes. Suited to a handful of labelled videos.

--output is a copy with the labels drawn in over time, from windows of a clip's length that overlap by half.
It keeps the input's size, pixel aspect, frame times and sound. The copies of a folder's videos (and
pictures, for a model of one frame) keep their names, with .mp4 (.png) appended where they end otherwise.

If the output is not a terminal, its last line is one JSON object {path: [[label, probability], ...]}. If a
video of a folder cannot be read, it is named on stderr, the others are processed, and the exit code is 1.
"""

from pathlib import Path

from diffmae_video.cli import print_result, tool_parser, weights_path


def main() -> int:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="PATH",
        type=weights_path,
        help="a fine-tuned classifier, or with --knn any model: a folder, or a name on the Hugging Face hub",
    )
    parser.add_argument("--input", required=True, metavar="PATH", type=Path, help="a video or a folder")
    parser.add_argument(
        "--output", metavar="PATH", type=Path, help="labelled copy: an .mp4, or a folder if the input is one"
    )
    parser.add_argument("--knn", metavar="PATH", help="a list or folder of labelled videos to compare with")
    parser.add_argument("--topk", type=int, default=5, metavar="K", help="labels to show (default: 5)")
    parser.add_argument("--views", type=int, default=5, metavar="N", help="clips of a video (default: 5)")
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that differ from the run's")
    args = parser.parse_intermixed_args()

    from diffmae_video.evaluation.predict import predict

    answers, unread = predict(
        args.checkpoint, args.input, args.output, args.topk, args.views, args.knn, args.options
    )
    print_result(answers, [args.output] if args.output else [], is_shown=True)
    return 1 if unread else 0
