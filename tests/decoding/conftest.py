"""The transcodes as files."""

import itertools
from pathlib import Path

import av
import pytest

from tests.decoding.transcodes import COUNT, VARIANTS, write_variant


@pytest.fixture(scope="session")
def variants(real_clips, tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("variants")
    with av.open(str(real_clips["carphone_pristine"])) as video:
        frames = [f.to_ndarray(format="rgb24") for f in itertools.islice(video.decode(video=0), COUNT)]
    paths = {name: folder / name for name in VARIANTS}
    for name, (codec, options, spec) in VARIANTS.items():
        write_variant(paths[name], frames, codec, options, spec)
    return paths
