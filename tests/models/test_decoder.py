"""Which encoder blocks the decoder's blocks read."""

from diffmae_video.models.decoder import tapped_blocks


def test_top_down_connections():
    assert tapped_blocks(12, 12) == list(range(11, -1, -1))
    assert tapped_blocks(12, 4) == [11, 7, 4, 0]
    assert tapped_blocks(3, 1) == [2]
    assert tapped_blocks(2, 4) == [1, 1, 0, 0]
