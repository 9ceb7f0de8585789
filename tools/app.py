"""Inpaints a window of a video or a picture on a web page, where it can be watched.

    python tools/app.py --checkpoint outputs/demo/checkpoint
    python tools/app.py --checkpoint runs/pretrained --port 8080
    python tools/app.py --checkpoint runs/pretrained --host 0.0.0.0     for other machines too

--checkpoint is a folder that tools/pretrain.py or tools/demo.py wrote. On the page: upload a video or a
picture, choose a mask or paint one, choose the sampler, steps and seed, and see the prediction refine from
t = T on; the result is there to download. The page shows one window, the frames that the model takes at its
size; for whole videos see tools/inpaint.py.

It listens on this machine alone unless --host says otherwise, and whoever can reach it can then use it.
Each upload is bounded in size and length; all are deleted when the tool ends (Ctrl-C or SIGTERM). There is
one run at a time.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from diffmae_video.cli import run_tool, tool_parser
from diffmae_video.errors import InputError


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--checkpoint", required=True, metavar="FOLDER", type=Path, help="of pre-training")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: this machine)")
    parser.add_argument("--port", type=int, metavar="N", help="(default: the first free one from 7860 on)")
    args = parser.parse_args()
    if args.port is not None and not 1 <= args.port <= 65535:
        raise InputError(f"--port takes 1 to 65535, got {args.port}")

    from diffmae_video.pages.app import LOOPBACK, serve

    # Services are stopped by it: uploads are to go then too.
    signal.signal(signal.SIGTERM, signal.default_int_handler)

    if args.host not in LOOPBACK:
        print(f"whoever can reach {args.host} can use this page", file=sys.stderr)
    serve(args.checkpoint, args.host, args.port)


if __name__ == "__main__":
    run_tool(main)
