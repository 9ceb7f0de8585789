"""Does pre-training pay? Scratch, MAE and DiffMAE on motions, digits and, if given, pictures."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffmae_video.files import write_text
from diffmae_video.studies.labelled_data import draw_motions, find_split, write_digits
from diffmae_video.studies.result_plot import plot_result
from diffmae_video.studies.result_tables import result_table
from diffmae_video.studies.run_study import run_study
from diffmae_video.studies.study import Study

LABELLED = {"motions": 1100}  # clips whose labels are used; pre-training reads all 3,300
CURVES = {"motions": ("diffmae",)}


def study_recognition(
    sets: Sequence[str],
    recipes: Path,
    pictures: Path | None,
    output: Path,
    seeds: int,
    quick: bool,
    jobs_at_once: int,
) -> dict[str, dict[str, Any]]:
    """Runs a study on each set and writes its .json, .md and .png.

    Args:
        sets: of ``motions`` and ``digits``, which are drawn, and ``pictures``.
        recipes: a folder with a folder of recipes for each set.
        pictures: a labelled set of pictures, see :func:`~diffmae_video.studies.labelled_data.find_split`.
        output: the folder for runs and results.
        seeds, quick: see :class:`~diffmae_video.studies.study.Study`.
        jobs_at_once: runs in parallel, of one core each.

    Returns:
        By set, see :func:`~diffmae_video.studies.run_study.run_study`.

    Raises:
        InputError: the data is not usable, or a run failed.
    """
    data: dict[str, tuple[Path, Path]] = {}
    for name in sets:  # all are prepared before the first run
        if name == "motions":
            data[name] = draw_motions(output / "data")
        elif name == "digits":
            data[name] = write_digits(output / "data")
        elif pictures is not None:
            data[name] = find_split(pictures)
    results = {}
    for name, (train, val) in data.items():
        study = Study(
            name,
            recipes / name,
            train,
            val,
            labelled=LABELLED.get(name, 0),
            output=output / ("quick" if quick else "full"),
            seeds=seeds,
            quick=quick,
            curves=CURVES.get(name, ()),
        )
        result = run_study(study, jobs_at_once)
        write_text(output / f"{name}.json", json.dumps(result, indent=1) + "\n")
        write_text(output / f"{name}.md", result_table(result))
        plot_result(result, output / f"{name}.png")
        results[name] = result
    return results
