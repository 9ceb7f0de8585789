"""The tables of a GPU's figures."""

from diffmae_video.benchmarks.gpu_report import tables


def test_predictions_stand_beside_what_was_measured():
    bare = {"what": "train", "model": "ViT-B", "decoder": "cross_self", "loop": "bare"}
    bare |= {"compiled": False, "batch": 64}
    text = tables([{**bare, "ms": 90.0}, {**bare, "loop": "engine", "error": "OutOfMemoryError: a | b"}])
    rows = text.splitlines()
    assert rows[2] == "| model | decoder | loop | compiled | batch | ms | error | predicted |"
    assert rows[4] == "| ViT-B | cross_self | bare | no | 64 | 90.0 |  | 85-105 ms, MFU .28-.35 |"
    assert rows[5] == "| ViT-B | cross_self | engine | no | 64 |  | OutOfMemoryError: a \\| b |  |"


def test_each_kind_of_figure_has_a_table():
    text = tables([{"what": "kernel", "ms": 1}, {"what": "machine", "device": "cpu"}])
    assert text.index("### machine") < text.index("### kernel")
    assert "predicted" not in text
