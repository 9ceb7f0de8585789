"""Converts weights between this project, timm and Hugging Face's VideoMAE, and exports programs.

    python tools/convert_weights.py --input runs/b --output vit_b.safetensors --to timm
    python tools/convert_weights.py --input mae_b.pth --output mae_b --to diffmae
    python tools/convert_weights.py --input mae_b.pth --output mae_video --to diffmae --num-frames 16
    python tools/convert_weights.py --input videomae.pth --output videomae_hf --to hf-videomae
    python tools/convert_weights.py --input runs/finetuned --output classifier.onnx --to onnx

--input is a classifier's folder, or all that diffmae_video.load_encoder reads: files and folders of this
project, mae, mae_st, VideoMAE (original or HF's) and timm. Decoders, and the heads of others, are left
out, and named. A folder that is made from a run's gets a model card, README.md.

    diffmae       a folder for load_model and load_encoder
    timm          a file (.safetensors, .pth) for VisionTransformer.load_state_dict, or a folder for
                  timm.create_model("local-dir:FOLDER", pretrained=True). It is a model of images: a
                  video's encoder has its kernel summed over time and takes the positions of mid-clip;
                  a classifier of videos does not fit
    hf-videomae   a folder for VideoMAEModel.from_pretrained, or VideoMAEForVideoClassification's. It
                  computes VideoMAE's own positions and has no class token, so that only weights of
                  VideoMAE, or of an Encoder with positions='sinusoid', fit
    onnx          a file (.onnx) for onnxruntime: clips [B, 3, T, H, W] (of one frame: images
                  [B, 3, H, W]), normalised, to logits or an encoder's tokens, for any B, in float32.
                  Its metadata has the classes, mean and std
    torch-export  the same as a file (.pt2) for torch.export.load
"""

from __future__ import annotations

from pathlib import Path

from diffmae_video import InputError
from diffmae_video.cli import run_tool, tool_parser

FORMATS = ("diffmae", "timm", "hf-videomae", "onnx", "torch-export")


def places(path: str) -> set[Path]:
    """The files that a path of weights stands for: itself, or those in it if it is a folder."""
    return {Path(path).resolve() / name for name in ("", "config.json", "model.safetensors")}


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--input", required=True, metavar="PATH", help="a file or folder of weights")
    parser.add_argument("--output", required=True, metavar="PATH", help="what to write; replaced if there")
    parser.add_argument("--to", required=True, choices=FORMATS, help="the format")
    parser.add_argument("--source", default="auto", help="where the input is from (default: by its keys)")
    parser.add_argument(
        "--image-size", type=int, nargs="+", metavar="N", help="pixels: one number, or height and width"
    )
    parser.add_argument("--num-frames", type=int, metavar="N", help="frames of a clip; 1 for images")
    parser.add_argument("--num-heads", type=int, metavar="N", help="where width / 64 is wrong")
    parser.add_argument("--eps", type=float, help="of the layer norms, where the default is wrong")
    args = parser.parse_intermixed_args()
    size = args.image_size
    if size is not None and len(size) > 2:
        raise InputError(f"--image-size takes one number, or height and width, and not {len(size)}")
    if args.to == "timm" and args.num_frames not in (None, 1):
        raise InputError(f"--num-frames {args.num_frames}: timm's ViT is a model of images; leave it out")
    if places(args.input) & places(args.output):
        raise InputError(f"--output {args.output} would replace the input; give another path")

    from diffmae_video.models.card import convert_card
    from diffmae_video.models.pretrained import load_model
    from diffmae_video.models.weights.convert import encoder_of, is_classifier, save_as
    from diffmae_video.models.weights.export import PROGRAMS, save_program
    from diffmae_video.models.weights.load_encoder import load_encoder

    if is_classifier(args.input):
        if any(value is not None for value in (size, args.num_frames, args.num_heads, args.eps)):
            raise InputError(
                f"{args.input}: is a classifier, which is exported as it is; leave out its sizes"
            )
        model = load_model(args.input)
    else:
        model = load_encoder(
            args.input,
            image_size=size[0] if size and len(size) == 1 else size,
            num_frames=1 if args.to == "timm" else args.num_frames,
            num_heads=args.num_heads,
            source=args.source,
            eps=args.eps,
        )
    if args.to in PROGRAMS:
        save_program(model, args.output, args.to)
    else:
        save_as(model, args.output, args.to)
        convert_card(Path(args.input), Path(args.output), args.to)
    encoder = encoder_of(model)
    clip = " x ".join(str(n * side) for n, side in zip(encoder.grid, encoder.patch, strict=True))
    patch = " x ".join(map(str, encoder.patch))
    heads = encoder.blocks[0].attn.num_heads
    classes = "" if model is encoder else f", {len(model.classes)} classes"
    print(
        f"{args.output}: {args.to}, clips {clip}, patches {patch}, width {encoder.width}, "
        f"{encoder.depth} blocks, {heads} heads{classes}"
    )


if __name__ == "__main__":
    run_tool(main)
