"""Serves a web page on which you take something out of a film, or watch a model fill a window of one.

    diffmae app
    diffmae app --checkpoint outputs/demo/checkpoint
    diffmae app --port 8080
    diffmae app --host 0.0.0.0     for other machines too

Without --checkpoint: upload a film, go to a frame, paint over what should go, and choose whether the hole
stays in its place or follows the camera. A model is fitted to the film while previews sharpen. Then compare
before and after with a slider, and download the film with its sound. It is what diffmae inpaint does.

--checkpoint takes a folder that diffmae pretrain or diffmae demo wrote. On the page, upload a video or a
picture, choose or paint a mask, choose the sampler, steps and seed, and watch the prediction refine from
t = T on; then download the result. The page fills one window: as many frames as the model takes, at its size.

By default the page is reachable from this machine only. With --host, everybody who can reach that address can
use it. Uploads are limited in size and length, and are deleted when the tool ends (Ctrl-C or SIGTERM). Only
one run is computed at a time; others wait.
"""

from __future__ import annotations

import signal
import sys

from diffmae_video.cli import add_precision, tool_parser, weights_path
from diffmae_video.errors import InputError


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        type=weights_path,
        help="a pre-training run's folder, or a name on the Hugging Face hub (default: clean films)",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=int, metavar="N", help="(default: the first free one from 7860 on)")
    add_precision(parser)
    args = parser.parse_args()
    if args.port is not None and not 1 <= args.port <= 65535:
        raise InputError(f"--port: must be between 1 and 65535, got {args.port}")

    from diffmae_video.pages.app import LOOPBACK, serve

    # Service managers stop a service with SIGTERM, which must delete uploads too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    if args.host not in LOOPBACK:
        print(f"everybody who can reach {args.host} can use this page", file=sys.stderr)
    serve(args.checkpoint, args.host, args.port, args.precision)
