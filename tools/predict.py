"""Says what is to be seen in videos, and draws it into them over time.

    python tools/predict.py --checkpoint runs/finetuned --input film.mp4
    python tools/predict.py --checkpoint runs/finetuned --input film.mp4 --output labelled.mp4 --topk 3
    python tools/predict.py --checkpoint runs/finetuned --input films/ --output labelled/

--checkpoint is a folder that tools/finetune.py wrote; its config.yaml says how clips are sampled. The
probabilities are those of --views clips, spread evenly over a video, their logits averaged. --output is a
copy with the labels drawn over time, from windows of a clip's length each half a clip after the last: at
the size and mean rate of the input, without its sound. A folder's videos (pictures too, for a model of one
frame) go to files of the same names, with .mp4 (.png) added where they are of another kind.

The last line of the output is one JSON object {path: [[label, probability], ...]}. A video of a folder that
cannot be read is named on stderr, the others go on, and the exit code is 1.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tqdm import tqdm

from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.errors import InputError
from diffmae_video.runtime.progress import ProgressBar


def main() -> int:
    parser = tool_parser(__doc__)
    parser.add_argument("--checkpoint", required=True, metavar="FOLDER", help="of a fine-tuned classifier")
    parser.add_argument("--input", required=True, metavar="PATH", type=Path, help="a video, or a folder")
    parser.add_argument("--output", metavar="PATH", type=Path, help="a .mp4, or for a folder another one")
    parser.add_argument("--topk", type=int, default=5, metavar="K", help="labels that are shown (default: 5)")
    parser.add_argument("--views", type=int, default=5, metavar="N", help="clips of a video (default: 5)")
    args = parser.parse_intermixed_args()
    if args.topk < 1:
        raise InputError(f"--topk takes 1 or more, got {args.topk}")

    from diffmae_video.data import VideoError, find_videos
    from diffmae_video.evaluation.predict import Predictor
    from diffmae_video.pages.label_overlay import label_video, labelled_paths

    with Predictor(args.checkpoint, args.views) as predictor:
        is_folder = args.input.is_dir()
        paths = find_videos(args.input, predictor.sampling.num_frames == 1) if is_folder else [args.input]
        targets = labelled_paths(args.input, paths, args.output) if args.output else []
        answers, bad = {}, 0
        for i, path in enumerate(ProgressBar(paths, unit=" files", disable=len(paths) == 1)):
            try:
                best = predictor.top(predictor.classify(path), args.topk)
                if targets:
                    label_video(predictor, path, targets[i], args.topk)
            except VideoError as error:
                if not is_folder:
                    raise
                tqdm.write(f"error: {error}", file=sys.stderr)
                bad += 1
                continue
            answers[str(path)] = best
            lines = [f"{path}", *(f"  {probability:6.1%}  {label}" for label, probability in best)]
            tqdm.write("\n".join(lines), file=sys.stdout)
    print(json.dumps(answers))
    return 1 if bad else 0


if __name__ == "__main__":
    run_tool(main)
