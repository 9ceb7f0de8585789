"""A study's result, small enough to check by hand."""


def trained(steps):
    return {"pretraining_steps": steps, "budget": steps}


RESULT = {
    "budget": "steps",
    "classes": 4,
    "val": 100,
    "labels": {"few": 10, "all": 100},
    "runs": [
        {
            "seed": seed,
            "init": init,
            "labels": share,
            "pretraining_steps": steps,
            "budget": steps,
            "top1": top1,
        }
        for init, steps, share, values in (
            ("scratch", 0, "few", (0.25, 0.35)),
            ("scratch", 0, "all", (0.5, 0.6)),
            ("mae", 100, "few", (0.4, 0.5)),
            ("mae", 200, "few", (0.5, 0.6)),
            ("mae", 200, "all", (0.7, 0.8)),
            ("diffmae", 100, "few", (0.45, 0.55)),
            ("diffmae", 200, "few", (0.6, 0.7)),
            ("diffmae", 200, "all", (0.8, 0.9)),
        )
        for seed, top1 in enumerate(values)
    ],
    "probes": [
        {
            "seed": seed,
            "init": init,
            "pretraining_steps": steps,
            "budget": steps,
            "linear": 0.3 + 0.001 * steps,
        }
        for init in ("mae", "diffmae")
        for steps in (100, 200)
        for seed in (0, 1)
    ]
    + [{"seed": seed, "init": "scratch", **trained(0), "linear": 0.2} for seed in (0, 1)],
    "motion": [
        {
            "as_it_is": 0.9,
            "shuffled": 0.3,
            "shuffled_ordered": 0.26,
            "one_frame_repeated": 0.2,
            "one_frame_model": 0.25,
        }
    ],
}


def with_own_system(name):
    """The result with another system, which did as well as MAE."""

    def add(rows):
        return rows + [row | {"init": name} for row in rows if row["init"] == "mae"]

    return RESULT | {"runs": add(RESULT["runs"]), "probes": add(RESULT["probes"])}
