"""How stretches follow each other."""

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from diffmae_video.film.stretches import cut_into_stretches


@settings(max_examples=60)
@given(
    frames=st.integers(1, 90),
    steps=st.integers(1, 8),
    patch=st.integers(1, 2),
    aligned=st.booleans(),
    most=st.integers(1, 9),
)
def test_stretches_cover_every_frame_once(frames, steps, patch, aligned, most):
    clip = steps * patch
    stretches = cut_into_stretches(frames, clip, patch, aligned, most)
    ends = [0, *(s.cut for s in stretches)]
    assert [s.start for s in stretches] == ends[:-1]
    assert ends == sorted(set(ends))
    assert ends[-1] == stretches[-1].end == max(clip, -(-frames // patch) * patch)
    for one, following in itertools.pairwise(stretches):
        assert one.end - following.start <= clip  # what is handed on
        assert following.end >= one.end
        assert len(one.clips) <= most
