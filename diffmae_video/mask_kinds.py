"""The names of the kinds of mask; this imports nothing, so that --help can list them at once."""

# Each is a class method of diffmae_video.masks.Mask.
MASKS = ("random", "tube", "frame", "block", "box", "center")
# The kinds that hide a share of their own and ignore the ratio.
OWN_SHARE = ("center",)
