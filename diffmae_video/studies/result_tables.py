"""The results of a study as a Markdown table, as CSV, and as a JSON summary, with every seed."""

import csv
import io
import statistics
from collections.abc import Iterable
from typing import Any

TITLES = {
    "scratch": "from scratch",
    "mae": "MAE",
    "igpt": "iGPT",
    "adm": "ADM (U-Net)",
    "ddpm": "DDPM (ViT)",
    "diffmae": "DiffMAE",
}
PROBE_TITLES = {"linear": "linear probe", "attentive": "attentive probe", "knn": "k-NN"}
MOTION_TITLES = {
    "as_it_is": "clips as they are",
    "shuffled": "frames shuffled",
    "shuffled_ordered": "frames shuffled, without `shake` and `still`, which have no order",
    "one_frame_repeated": "one frame repeated",
    "one_frame_model": "a model of one frame, trained for it",
}


def title_of(init: str) -> str:
    """The written name of an init. A system of the user's own goes by its recipe's name."""
    return TITLES.get(init, init)


def percent(shares: Iterable[float]) -> str:
    """Shares in percent: one as it is, several as mean ± standard deviation and each value."""
    values = [100 * share for share in shares]
    if len(values) == 1:
        return f"{values[0]:.1f}"
    each = ", ".join(f"{x:.1f}" for x in values)
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f} ({each})"


def final_runs(result: dict[str, Any], init: str, labels: str) -> list[float]:
    """Top-1 of each seed's fine-tuning after the whole pre-training."""
    runs = [run for run in result["runs"] if (run["init"], run["labels"]) == (init, labels)]
    longest = max(run["pretraining_steps"] for run in runs)
    return [run["top1"] for run in runs if run["pretraining_steps"] == longest]


def final_probes(result: dict[str, Any], init: str, kind: str = "linear") -> list[float]:
    """Accuracy of each seed's probe after the whole pre-training; from scratch, of random weights."""
    probes = [probe for probe in result["probes"] if probe["init"] == init]
    longest = max(probe["pretraining_steps"] for probe in probes)
    return [probe[kind] for probe in probes if probe["pretraining_steps"] == longest]


def inits_of(result: dict[str, Any]) -> list[str]:
    """The inits of a result, in the order of ``TITLES`` and then the user's own."""
    present = list(dict.fromkeys(run["init"] for run in result["runs"]))
    return [init for init in TITLES if init in present] + [init for init in present if init not in TITLES]


def probes_of(result: dict[str, Any]) -> list[str]:
    """The kinds of probes of a result."""
    return [kind for kind in PROBE_TITLES if kind in result["probes"][0]]


def table_cells(result: dict[str, Any]) -> tuple[list[str], dict[str, list[list[float]]]]:
    """The column titles and, by init, the shares of all seeds in each column."""
    few, whole = result["labels"]["few"], result["labels"]["all"]
    kinds = probes_of(result)
    columns = [
        f"fine-tuned, {few:,} labels",
        f"fine-tuned, {whole:,} labels",
        *(PROBE_TITLES[kind] for kind in kinds),
    ]
    rows = {
        init: [
            *(final_runs(result, init, labels) for labels in ("few", "all")),
            *(final_probes(result, init, kind) for kind in kinds),
        ]
        for init in inits_of(result)
    }
    return columns, rows


def result_table(result: dict[str, Any]) -> str:
    """Markdown: top-1 in percent by init and labels, and on clips by the order of frames."""
    columns, rows = table_cells(result)
    lines = [
        f"Top-1 in % on {result['val']} held-out samples of {result['classes']} classes "
        f"(chance {100 / result['classes']:.1f}):",
        "",
        f"| pre-training | {' | '.join(columns)} |",
        "|---" * (1 + len(columns)) + "|",
    ]
    for init, cells in rows.items():
        lines.append(f"| {title_of(init)} | {' | '.join(percent(values) for values in cells)} |")
    motion = result.get("motion")
    if motion:
        lines += ["", "| DiffMAE with all labels, on | top-1 |", "|---|---|"]
        lines += [
            f"| {title} | {percent(row[key] for row in motion)} |" for key, title in MOTION_TITLES.items()
        ]
    return "\n".join(lines) + "\n"


def result_summary(result: dict[str, Any]) -> dict[str, Any]:
    """The shares of all seeds by init and column; on clips also ``motion``, by the order of frames."""
    summary: dict[str, Any] = {
        init: {
            **{labels: final_runs(result, init, labels) for labels in ("few", "all")},
            **{kind: final_probes(result, init, kind) for kind in probes_of(result)},
        }
        for init in inits_of(result)
    }
    return summary | ({"motion": result["motion"]} if "motion" in result else {})


def result_csv(result: dict[str, Any]) -> str:
    """The table's values one per line: init, figure (the column), seed, top1 (a share)."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(("init", "figure", "seed", "top1"))
    columns, rows = table_cells(result)
    for init, cells in rows.items():
        for column, values in zip(columns, cells, strict=True):
            writer.writerows((init, column, seed, value) for seed, value in enumerate(values))
    return lines.getvalue()
