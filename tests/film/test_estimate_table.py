import pytest

from diffmae_video.film.estimate_table import describe_estimate


def row(psnr, spread=0.5):
    scores = {"psnr": psnr, "ssim": 0.8, "gradient_ratio": 0.9, "flicker": None}
    return scores | {f"{name}_spread": None if value is None else spread for name, value in scores.items()}


def estimate(gain, *learnt, places=2):
    kinds = ("base", *learnt)
    fills = {**{kind: row(20 + gain) for kind in kinds}, "OpenCV Telea": row(20.0)}
    return {"places": places, "fills": fills, "fill": kinds[-1], "gain": gain}


@pytest.mark.parametrize(
    ("gain", "comparison"),
    [
        (1.26, "1.3 dB better than the best simple fill."),
        (-1.26, "1.3 dB worse than the best simple fill."),
        (0.04, "as good as the best simple fill."),
        (-0.04, "as good as the best simple fill."),
    ],
)
def test_the_fill_is_compared_with_the_simple_ones(gain, comparison):
    assert (
        f"Best for the eye: sample, {comparison}" in describe_estimate(estimate(gain, "sample")).splitlines()
    )
    assert f"The base fill is {comparison}" in describe_estimate(estimate(gain)).splitlines()


def test_without_a_fit_none_is_spoken_of():
    text = describe_estimate(estimate(-1.0))
    assert text.endswith("\nThe fill does not beat the simple fills on this film; hide less.")
    assert "fit" not in text
    fitted = describe_estimate(estimate(0.0, "sample"))
    assert fitted.endswith(
        "\nThe fit does not beat the simple fills on this film; fit for longer, or hide less."
    )
    assert "not beat" not in describe_estimate(estimate(1.0)) + describe_estimate(estimate(1.0, "sample"))


def test_a_spread_needs_more_than_one_place():
    several = describe_estimate(estimate(1.0))
    assert several.startswith("On 2 held-out places (± spread; gradient and flicker over the truth's):")
    assert several.splitlines()[2].split("  ")[-1].strip() == "-"
    assert "21.00 ± 0.50" in several
    assert "one place" not in several
    one = describe_estimate(estimate(1.0, places=1))
    assert one.startswith("On 1 held-out place (gradient and flicker over the truth's):")
    assert "±" not in one
    assert "21.00" in one
    assert one.endswith("\nThis estimate rests on one place only, so take it as a hint.")


def test_without_a_known_place_it_says_so():
    assert "cannot be measured" in describe_estimate({"places": 0, "fills": {}, "fill": "base", "gain": None})
