"""A run's folder for the evaluation of inpainting."""

from diffmae_video import load_config
from diffmae_video.models import MAE, Encoder
from tests.integration.runs import CONFIG, TINY
from tests.tiny_models import tiny_diffmae


def make_run(folder, video):
    """Writes a model of 4 frames of 32 x 32, MAEs, a model for features, and a list with a bad file."""
    (folder / "broken.mp4").write_text("no video")
    (folder / "val.csv").write_text(f"path\n{video}\nbroken.mp4\n")
    options = [*TINY, "DATA.VAL", folder / "val.csv", "EVALUATION.BATCH_SIZE", 16]
    (folder / "config.yaml").write_text(load_config(CONFIG, options).dump())
    tiny_diffmae(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)).save_pretrained(folder)
    narrow = {"width": 32, "depth": 1, "heads": 2}
    MAE((32, 32), 4, (2, 8, 8), narrow, narrow).save_pretrained(folder / "mae")
    MAE((32, 32), 4, (2, 16, 16), narrow, narrow).save_pretrained(folder / "other")
    normalised = MAE((32, 32), 4, (2, 8, 8), narrow, narrow, normalize_target=True)
    normalised.save_pretrained(folder / "normalised")
    Encoder((32, 32), 4, (2, 8, 8), width=8, depth=1, heads=2).save_pretrained(folder / "features")
    return folder
