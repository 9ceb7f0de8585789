"""Fills a hole in a whole video or picture of any length, size and frame rate.

    diffmae inpaint --input film.mp4 --mask mask.png --output clean.mp4 --fit 0
    diffmae inpaint --input film.mp4 --mask 352,16,62,24 --output clean.mp4 --fit 5m
    diffmae inpaint --input film.mp4 --mask "40,30,64,48,0,2 60,30,64,48,2,5.5" --output clean.mp4 --fit 0
    diffmae inpaint --input film.mp4 --mask masks.mp4 --dilate 4 --feather 3 --output clean.webm --fit 0
    diffmae inpaint --input frames/ --fps 24 --mask objects/ --instances 2 --output filled/ --fit 0
    diffmae inpaint --input photo.jpg --mask hole.png --output clean.png
    diffmae inpaint --checkpoint runs/vit_b --input film.mp4 --mask 40,30,64,48 --output out.gif --tiles
    diffmae inpaint --checkpoint runs/vit_b --input photo.jpg --output out.png --samples 4
    diffmae inpaint --checkpoint runs/vit_b --input film.mp4 --output out.png --mask random \\
        --mask-ratio 0.9 --sampler dpm++ --steps 10 --save-steps

--mask is one of

    x,y,w,h            a box in pixels of the upright frame, from its top left corner
    x,y,w,h,t0,t1      the same box, hidden only from t0 up to t1 seconds
    "BOX BOX ..."      several boxes; with times, as in the third example, they follow a thing that moves
    a picture          fills in every frame what is white or bright; what is opaque, if the picture has
                       transparent parts; or every colour but black, if it numbers objects by a palette, by
                       dark grey levels or by DAVIS's colours
    a video, an animated picture or a folder of pictures
                       the same, with a mask for each frame of the input; masks of another rate are aligned
                       by time, and those of another size are resized, which one line says
    KINDS_OF_MASK
                       a mask drawn on the model's patches; --mask-ratio is the share that it hides
                       (not of center, which hides half of the height and width)

A mask must cover the object in every frame: what it misses in one frame is taken for background and copied
into others. Keep it narrow, with a few pixels around the object: what it covers beyond is not known either.

A mask that numbers objects by colour hides them all, or with --instances some: 1,3 (the palette's or grey
levels' numbers, else DAVIS's) or #800000 (colours). --invert swaps what is hidden and what is not. --dilate P
lets the hole grow by P pixels, so that no rim of an object stays; --feather P fills P pixels more and fades
them into the film.

Without --checkpoint, the film itself is the source. A base fill follows the motion of the film to frames
that show what is hidden now, and takes the rest from around the hole. A model is then fitted to the film:
it learns from known parts to correct the base fill. Neither reads what the hole hides. --fit sets the time
to learn; the base fill, its rehearsals and the measuring come on top. --fit 0 makes the base fill only. Start
with that: fits of minutes have not improved it so far. A fit that was stopped goes on when the same command
is given again; one that is done is used again, for another seed or fill, or goes on with a longer --fit. It
is kept beside the output, in <output>-fit/ (clean-fit/ for clean.mp4). Before the film is filled, the fills
are measured on places of the film that no one has learnt from, beside the mean colour and OpenCV's two ways,
and --fill auto chooses by that: of the base fill, the first prediction, a sample and the mean of samples
whose gradient energy is .5 to 1.3 and whose change between frames is .5 to 1.5 times the truth's, the one
with the highest PSNR. Frames whose shorter side is above 480 pixels are fitted at 480. With --checkpoint and
--fit, the fit starts from a model's weights.

With --checkpoint alone, that model fills the film as it is. By default the mask is of the kind that the model
was trained on. Frames are resized to the model's size and the fill is resized back, without cropping; with
--tiles frames keep their size and overlapping clips cover them. Each frame of the film is a frame of the
model's clips. Pixels outside the hole are the input's own: PNG keeps them exactly, other formats encode them
again.

--input may be a folder of pictures, which are the frames of a film in the natural order of their names.
The ending of --output chooses the format: .mp4 (H.264), .webm (VP9), .gif or .png. PNG frames of a video go
into a folder: both --output film and --output film.png write film/00000.png, film/00001.png and so on. Sound
is copied into mp4 and, if it is Opus or Vorbis, into WebM. Variable frame rates are kept. More samples go
to film-2.mp4, film-3.mp4 and so on. --save-steps writes the first sample's x0 prediction of each step
to film-steps/t1000.mp4 and so on, from t = T down.

Scores are written to film.json (or film.mp4.json, if film.json describes another output). If the output is
not a terminal, its last line is the same as one JSON object, with 4 decimals. psnr, flicker (mean
|x[t+1] - x[t]| over the input's) and gradient_ratio compare the fill with what the input shows in the hole.
That is the truth if the hole was drawn at random. If the hole hides something to be removed there is no
truth: "reference" is then "input", and these scores do not measure quality. mean_fill_psnr and
interpolation_psnr are those of filling with the mean of the visible pixels, and linearly in time between
visible ones. Differences between frames, in levels of 255, show whether the joints of clips are visible:
joint_difference is the mean |x[t] - x[t-1]| at frames where a clip starts or ends, stretch_joint_difference
where clips start that are sampled apart from the earlier ones, inner_difference at all other frames, and
patch_difference at those of them where a patch starts (masks drawn on patches change there). "truth" has the
same differences of the input.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from diffmae_video.cli import add_precision, print_result, tool_parser
from diffmae_video.mask_kinds import MASKS


def main() -> None:
    parser = tool_parser((__doc__ or "").replace("KINDS_OF_MASK", ", ".join(MASKS)))
    parser.argument_default = argparse.SUPPRESS  # the defaults are those of the function
    parser.add_argument(
        "--checkpoint",
        metavar="FOLDER",
        help="folder of a DiffMAE or an MAE; without it, a model is fitted to the film",
    )
    parser.add_argument(
        "--input", required=True, metavar="PATH", type=Path, help="a video, a picture or a folder of frames"
    )
    parser.add_argument(
        "--output",
        required=True,
        metavar="PATH",
        help="an .mp4, .webm, .gif or .png file, or a folder",
    )
    parser.add_argument(
        "--fps", type=float, metavar="R", help="frames per second of a folder of frames (default: 25)"
    )
    parser.add_argument("--mask", metavar="MASK", help="what to fill (default: as trained)")
    parser.add_argument(
        "--mask-ratio", type=float, metavar="R", help="share that a drawn mask hides (default: as trained)"
    )
    parser.add_argument(
        "--instances", metavar="N,...", help="numbers or #colours of the objects in the mask (default: all)"
    )
    parser.add_argument("--invert", action="store_true", help="fill what the mask does not hide")
    parser.add_argument("--dilate", type=int, metavar="P", help="pixels by which the hole grows (default: 0)")
    parser.add_argument(
        "--feather",
        type=int,
        metavar="P",
        help="pixels around the hole in which the fill fades into the film (default: 0)",
    )
    parser.add_argument(
        "--fit",
        metavar="TIME",
        help="how long to fit a model to the film, such as 90s, 5m, 1h or 300steps, which ends the same each "
        "time (default: by the film's size); with "
        "--checkpoint, start from its weights (default: 0, use it as it is); without, 0 makes "
        "the base fill alone",
    )
    parser.add_argument(
        "--recipe",
        metavar="NAME",
        help="the recipe of a fit, film/fit (default) or film/fine, which is slower and has smaller patches",
    )
    parser.add_argument(
        "--fill",
        choices=("auto", "base", "first", "mean", "sample"),
        help="the base fill, or a prediction of the fitted model (default: auto, by the estimate)",
    )
    parser.add_argument("--samples", type=int, metavar="N", help="number of fills (default: 1)")
    parser.add_argument("--save-steps", action="store_true", help="also write the x0 prediction of each step")
    parser.add_argument(
        "--tiles", action="store_true", help="keep the frames' size instead of resizing them to the model's"
    )
    parser.add_argument(
        "--sampler", choices=("ddpm", "ddim", "dpm++"), help="(default: ddim; dpm++ after a fit)"
    )
    parser.add_argument("--steps", type=int, metavar="N", help="sampling steps (default: 50; 10 after a fit)")
    add_precision(parser)
    parser.add_argument("--seed", type=int, metavar="S", help="for noise and masks (default: 0)")
    parser.add_argument(
        "--crf", type=int, metavar="Q", help="quality of mp4 and WebM, 0 is best (default: 12)"
    )
    arguments = vars(parser.parse_args())

    from diffmae_video.film.inpaint_film import scores_path, target_path
    from diffmae_video.film.one_call import inpaint

    film, mask = arguments.pop("input"), arguments.pop("mask", None)
    result = inpaint(film, mask, arguments.pop("output"), **arguments)
    if "note" in result and not sys.stdout.isatty():  # it is about scores that a terminal does not show
        print(f"note: {result['note']}")
    wrote = [*result["files"], scores_path(target_path(result["output"]))]
    if result.get("fitted"):
        wrote.append(f"{result['fitted']}/")
    print_result(result, wrote, is_shown=True)
