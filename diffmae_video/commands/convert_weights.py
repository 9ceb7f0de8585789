"""Converts weights between this project, timm and Hugging Face's VideoMAE, and exports programs.

    diffmae convert-weights --input runs/b --output vit_b.safetensors --to timm
    diffmae convert-weights --input mae_b.pth --output mae_b --to diffmae
    diffmae convert-weights --input mae_b.pth --output mae_video --to diffmae --num-frames 16
    diffmae convert-weights --input videomae.pth --output videomae_hf --to hf-videomae
    diffmae convert-weights --input runs/finetuned --output classifier.onnx --to onnx

--input is the folder of a classifier, which keeps its head, or anything that diffmae_video.load_encoder
reads: files, folders and shards of this project, MAE, MAE-ST, VideoMAE (its own or Hugging Face's) and
timm. Decoders, and the heads of other projects, are left out and named. A folder that is made from a run
gets a model card, README.md. docs/weights.md has a table of which model fits which format.

    diffmae       a folder for load_model and load_encoder
    timm          a folder for timm.create_model("local-dir:FOLDER", pretrained=True), or a file
                  (.safetensors, .pth) for VisionTransformer.load_state_dict. It holds models of images.
                  A video encoder becomes one: its kernel is summed over time, and it gets the positions
                  of the middle of the clip. A video classifier does not fit.
    hf-videomae   a folder for VideoMAEModel.from_pretrained or VideoMAEForVideoClassification. It holds
                  models without a class token that were trained with VideoMAE's positions, which are
                  MODEL.ENCODER.POSITIONS sinusoid here (recipe k400/pretrain_vit_b_videomae).
    onnx          a file (.onnx) for onnxruntime, in float32. It takes normalised clips [B, 3, T, H, W], or
                  images [B, 3, H, W], for any B, and returns logits, or the tokens of an encoder. Its
                  metadata has the classes, mean and std.
    torch-export  the same as a file (.pt2) for torch.export.load
"""

from pathlib import Path

from diffmae_video import InputError
from diffmae_video.cli import tool_parser

# Those of diffmae_video.models.weights.convert, whose import takes seconds.
FORMATS = ("diffmae", "timm", "hf-videomae", "onnx", "torch-export")


def main() -> None:
    parser = tool_parser(__doc__)
    parser.add_argument("--input", required=True, metavar="PATH", help="a file or folder of weights")
    parser.add_argument(
        "--output", required=True, metavar="PATH", help="the file or folder to write; replaced if it exists"
    )
    parser.add_argument("--to", required=True, choices=FORMATS, help="the format to write")
    parser.add_argument(
        "--source", default="auto", help="the project that the input is from (default: by its keys)"
    )
    parser.add_argument(
        "--image-size", type=int, nargs="+", metavar="N", help="pixels: one number, or height and width"
    )
    parser.add_argument("--num-frames", type=int, metavar="N", help="frames of a clip; 1 for images")
    parser.add_argument(
        "--num-heads", type=int, metavar="N", help="attention heads (default: by config.json, or width / 64)"
    )
    parser.add_argument(
        "--eps", type=float, help="epsilon of the layer norms (default: by config.json or the source)"
    )
    args = parser.parse_intermixed_args()
    size = args.image_size
    if size is not None and len(size) > 2:
        raise InputError(f"--image-size takes one number, or height and width, not {len(size)} numbers")

    from diffmae_video.models.weights.convert import convert

    print(
        convert(
            Path(args.input),
            Path(args.output),
            args.to,
            image_size=size[0] if size and len(size) == 1 else size,
            num_frames=args.num_frames,
            num_heads=args.num_heads,
            source=args.source,
            eps=args.eps,
        )
    )
