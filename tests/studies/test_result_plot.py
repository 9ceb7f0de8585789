"""A study's result as a plot."""

from PIL import Image

from diffmae_video.studies.result_plot import plot_result
from tests.studies.results import RESULT, with_own_system


def test_the_users_own_system_is_plotted(tmp_path):
    plot_result(with_own_system("rho_04"), tmp_path / "with.png")
    plot_result(RESULT, tmp_path / "without.png")
    assert (tmp_path / "with.png").read_bytes() != (tmp_path / "without.png").read_bytes()


def test_the_plot_has_a_panel_for_curves_where_there_are_any(tmp_path):
    final = [run for run in RESULT["runs"] if run["pretraining_steps"] != 100]
    widths = []
    for runs in (RESULT["runs"], final):
        plot_result(RESULT | {"runs": runs}, tmp_path / "plot.png")
        widths.append(Image.open(tmp_path / "plot.png").width)
    assert widths == [1300, 910]
