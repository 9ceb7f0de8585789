"""Tables and pictures of an evaluation."""

import torch

from diffmae_video.data import Entry
from diffmae_video.evaluation.classifier_report import draw_confusion, write_classes, write_predictions


def test_tables_and_pictures_take_any_names(tmp_path):
    names = ['say "ü", they', "b"]
    listed = [Entry("a,b.mp4", label=names[0]), Entry("c\udcff.mp4", 1.5, 2.0, "b")]
    probabilities = torch.tensor([[0.75, 0.25], [0.5, 0.5]])
    path = tmp_path / "table.csv"
    write_predictions(path, listed, [names[0], ""], ["", "c: broken, twice"], probabilities, names)
    header, first, second = path.read_text().splitlines()
    assert (
        header == "path,start,end,label,predicted,was_read,reason,class_1,probability_1,class_2,probability_2"
    )
    assert first == '"a,b.mp4",0.0,,"say ""ü"", they","say ""ü"", they",true,,"say ""ü"", they",0.75,b,0.25'
    assert second == 'c\\udcff.mp4,1.5,2.0,b,,false,"c: broken, twice",,,,'
    write_classes(path, names, {"videos": torch.tensor([2, 0]), "accuracy": torch.tensor([0.5, torch.nan])})
    assert path.read_text().splitlines()[2] == "b,0,"
    for count in (2, 60):  # with names and without
        matrix = torch.eye(count, dtype=torch.int64)
        draw_confusion(tmp_path / f"{count}.png", matrix, [rf"$\no_{i}$" for i in range(count)])
        assert (tmp_path / f"{count}.png").read_bytes()[:4] == b"\x89PNG"
