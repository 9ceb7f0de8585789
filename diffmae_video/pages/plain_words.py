"""Scores of a fill in words, for readers who do not know the field's figures."""

# Words for the detail of a fill, each up to a ratio of gradient energy to the truth's. Our choice.
DETAIL = ((0.4, "blurred"), (0.8, "softer than the truth"), (1.25, "as fine as the truth"))
NOISY = "noisier than the truth"


def error_in_words(psnr: float) -> str:
    """The root mean square error that a PSNR in dB stands for, as a share of the way from black to white."""
    return f"off by {10 ** (-psnr / 20):.0%}"


def detail_in_words(ratio: float) -> str:
    """How fine a fill looks that has this ratio of gradient energy to the truth's."""
    return next((words for most, words in DETAIL if ratio <= most), NOISY)
