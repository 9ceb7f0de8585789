"""A study's result as a table and as CSV."""

import csv
import io

import torch

from diffmae_video.studies.result_tables import final_probes, final_runs, percent, result_csv, result_table
from tests.studies.results import RESULT, with_own_system


def test_the_table_is_of_the_whole_pre_training():
    assert final_runs(RESULT, "mae", "few") == [0.5, 0.6]
    assert final_probes(RESULT, "diffmae") == [0.5, 0.5]
    assert final_probes(RESULT, "scratch") == [0.2, 0.2]
    table = result_table(RESULT)
    assert "(chance 25.0)" in table
    assert (
        "| DiffMAE | 65.0 ± 7.1 (60.0, 70.0) | 85.0 ± 7.1 (80.0, 90.0) | 50.0 ± 0.0 (50.0, 50.0) |" in table
    )
    assert "| frames shuffled | 30.0 |" in table
    values = torch.tensor([0.31, 0.35, 0.42])
    assert percent(values.tolist()).startswith(f"{100 * values.mean():.1f} ± {100 * values.std():.1f}")


def test_the_csv_has_every_seed():
    rows = list(csv.DictReader(io.StringIO(result_csv(RESULT))))
    assert len(rows) == 3 * 3 * 2
    row = {"init": "mae", "figure": "fine-tuned, 10 labels", "seed": "1", "top1": "0.6"}
    assert row in rows


def test_the_users_own_system_stands_beside_the_others():
    lines = result_table(with_own_system("rho_04")).splitlines()
    mae = next(line for line in lines if line.startswith("| MAE |"))
    assert mae.replace("| MAE |", "| rho_04 |") in lines
