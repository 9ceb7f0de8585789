"""The authors' comparison (DiffMAE, Table 2 and project page): systems pre-trained at one budget."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fvcore.common.config import CfgNode

from diffmae_video.config import load_config
from diffmae_video.errors import InputError, require
from diffmae_video.files import write_text
from diffmae_video.inpainting.side_by_side import fill_held_out, generate
from diffmae_video.pages.comparison import write_comparison
from diffmae_video.studies.labelled_data import draw_motions, find_split, write_digits
from diffmae_video.studies.pretraining_budget import UNITS, costs_at_budget
from diffmae_video.studies.result_plot import plot_result
from diffmae_video.studies.result_tables import percent, result_csv, result_table, table_cells, title_of
from diffmae_video.studies.run_study import run_study
from diffmae_video.studies.study import Study

PAGE_SAMPLES = 6  # held-out samples that the page shows


def compare(
    config: Path, options: Sequence[Any], data: Path | None, output: Path, jobs_at_once: int
) -> dict[str, Any]:
    """Runs the comparison of a config and writes its results.

    Writes result.json, table.md, table.csv, plot.png and the page index.html with media/.

    Args:
        config: a YAML file with the section COMPARE. The systems' recipes lie in the folder beside it that
            has its name.
        options: ``[KEY, VALUE, ...]``, override the config.
        data: a labelled set, see :func:`~diffmae_video.studies.labelled_data.find_split`; None draws one.
        output: the folder for runs and results.
        jobs_at_once: runs in parallel, of one core each.

    Returns:
        See :func:`~diffmae_video.studies.run_study.run_study`; with ``costs``, see
        :func:`~diffmae_video.studies.pretraining_budget.costs_at_budget`.

    Raises:
        InputError: the config or the data is not usable, or a run failed.
        MissingExtraError: jinja2 or matplotlib is not installed.
        OSError: the output cannot be written.
    """
    cfg, recipes = load_config(config, options), config.with_suffix("")
    if not recipes.is_dir():
        raise InputError(f"{recipes}: no such folder; the systems' recipes belong there")
    for module in ("jinja2", "matplotlib"):  # needed last, checked first
        require(module, "compare")
    systems = systems_of(cfg, recipes)
    if data is not None:
        train, val = find_split(data)
    else:
        is_video = load_config(recipes / f"{systems[0]}.yaml").DATA.NUM_FRAMES > 1
        train, val = (draw_motions if is_video else write_digits)(output / "data")
    budget = cfg.COMPARE.BUDGET, cfg.COMPARE.UNIT
    costs = costs_at_budget(systems, recipes, *budget, train, output / "timing")
    study = comparison_study(cfg, systems, costs, recipes, (train, val), output)
    result = run_study(study, jobs_at_once) | {"costs": costs}
    write_text(output / "result.json", json.dumps(result, indent=1) + "\n")
    write_text(output / "table.md", result_table(result))
    write_text(output / "table.csv", result_csv(result))
    plot_result(result, output / "plot.png")
    _write_page(study, result, output)
    return result


def systems_of(cfg: CfgNode, recipes: Path) -> tuple[str, ...]:
    """The systems of COMPARE.SYSTEMS.

    Raises:
        InputError: none is named, or one is named twice or has no recipe.
    """
    systems = tuple(cfg.COMPARE.SYSTEMS)
    known = sorted(path.stem for path in recipes.glob("*.yaml") if not path.stem.startswith("finetune"))
    unknown = [name for name in systems if name not in known]
    if unknown or not systems or len(set(systems)) < len(systems):
        raise InputError(
            f"COMPARE.SYSTEMS: got {cfg.COMPARE.SYSTEMS}; name some of {', '.join(known)} (the recipes "
            f"in {recipes}), each once"
        )
    return systems


def comparison_study(
    cfg: CfgNode,
    systems: tuple[str, ...],
    costs: dict[str, dict[str, float]],
    recipes: Path,
    data: tuple[Path, Path],
    output: Path,
) -> Study:
    """The study of a comparison whose systems are pre-trained for the steps in ``costs``."""
    train, val = data
    return Study(
        recipes.name,
        recipes,
        train,
        val,
        labelled=0,
        output=output / "runs",
        seeds=cfg.COMPARE.SEEDS,
        systems=systems,
        pretraining_steps={system: int(cost["steps"]) for system, cost in costs.items()},
        budget=cfg.COMPARE.BUDGET,
        unit=UNITS[cfg.COMPARE.UNIT],
        curves=systems if cfg.COMPARE.CURVES else (),
        probes=("linear", "knn"),
    )


def _write_page(study: Study, result: dict[str, Any], output: Path) -> None:
    """The page, with the first seed's models filling in held-out samples and making up new ones."""
    folders = {system: study.folder(0, system) for system in study.systems}
    held_out = [entry.path for entry in study.entries(study.val)]
    chosen = held_out[:: max(1, len(held_out) // PAGE_SAMPLES)][:PAGE_SAMPLES]
    columns, cells = table_cells(result)
    rows = [(title_of(init), [percent(values) for values in row]) for init, row in cells.items()]
    titles = {init: title_of(init) for init in cells if init in folders}
    write_comparison(output, result, columns, rows, titles, fill_held_out(folders, chosen), generate(folders))
