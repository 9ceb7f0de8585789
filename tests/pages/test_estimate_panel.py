"""The estimate of a fit on the page."""

from diffmae_video.pages.estimate_panel import estimate_panel

GOOD = {"psnr": 26.0, "gradient_ratio": 0.9, "flicker": 1.25}
SIMPLE = {"psnr": 20.0, "gradient_ratio": 0.1, "flicker": None}


def estimate(gain):
    return {"places": 2, "fills": {"mean": GOOD, "a <b>": SIMPLE}, "fill": "mean", "gain": gain}


def test_it_says_how_good_the_fill_is_and_lists_all_ways():
    text = estimate_panel(estimate(6.0))
    assert (
        "the fill is off by 5% (PSNR 26.0 dB) and as fine as the truth, which is 6.0 dB better than" in text
    )
    assert "more minutes" not in text
    assert '<th scope="row">mean of samples</th><td>26.00</td><td>0.90</td><td>1.25</td>' in text
    assert '<th scope="row">a &lt;b&gt;</th><td>20.00</td><td>0.10</td><td>–</td>' in text


def test_a_fit_that_is_worse_than_simple_ways_says_what_to_do():
    assert "0.5 dB worse than the best simple way. Give it more minutes" in estimate_panel(estimate(-0.5))


def test_a_difference_that_rounds_to_nothing_is_none():
    assert "which is as good as the best simple way. Give it more minutes" in estimate_panel(estimate(-0.04))


def test_one_place_is_one():
    assert "On one place of the film that is known, the" in estimate_panel(estimate(6.0) | {"places": 1})


def test_without_a_known_place_it_says_so():
    assert "cannot be measured" in estimate_panel({"places": 0, "fills": {}, "fill": "first", "gain": None})
