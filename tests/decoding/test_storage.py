"""Files in tar shards and in object stores."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from diffmae_video.decoding import DecodingProcess, VideoError, open_video
from diffmae_video.decoding.storage import Place, absolute, exists, fetch, is_stored, member_path, place_of
from diffmae_video.errors import InputError


@pytest.fixture
def pack(tmp_path):
    """Writes files into a shard, by name, and returns the paths of its members."""

    def write(**files):
        shard = tmp_path / "shard-000000.tar"
        with tarfile.open(shard, "w", format=tarfile.USTAR_FORMAT) as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name.replace("__", "."))
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
        with tarfile.open(shard) as tar:
            return [member_path(str(shard), m.offset_data, m.size, m.name) for m in tar]

    return write


def test_a_name_says_where_the_file_lies():
    path = "s3://bucket/a b/shard-000001.tar@1024+77/00000007-cat.mp4"
    assert place_of(path) == Place("s3://bucket/a b/shard-000001.tar", 1024, 77)
    assert member_path("s3://bucket/a b/shard-000001.tar", 1024, 77, "00000007-cat.mp4") == path
    assert place_of("gs://bucket/cat.mp4") == Place("gs://bucket/cat.mp4")
    assert is_stored(path)
    assert is_stored("shards/a.tar@512+3/x.mp4")
    assert not is_stored("videos/a.tar/x@512+3.mp4")
    assert absolute(path) == path
    assert absolute("x.tar@1+2/y.mp4").startswith("/")


@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_a_video_in_a_shard_is_the_same_video(real_clips, pack, backend):
    clip = real_clips["bikes"]
    _, path = pack(first__mp4=b"something else", bikes__mp4=clip.read_bytes())
    with open_video(clip, backend) as plain, open_video(path, backend) as stored:
        assert type(stored.reader) is type(plain)
        assert stored.num_frames == plain.num_frames
        np.testing.assert_array_equal(stored.times, plain.times)
        np.testing.assert_array_equal(stored.frames([0, 7, 30]), plain.frames([0, 7, 30]))
        stored.check()
        expected = plain.frames([3]).copy()
    with DecodingProcess(60) as decoder, decoder.open(path, backend) as guarded:
        np.testing.assert_array_equal(guarded.frames([3]), expected)


def test_a_picture_in_a_shard_is_read_by_its_ending(pack, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    still, moving = io.BytesIO(), io.BytesIO()
    Image.fromarray(pixels).save(still, "png")
    frames = [Image.fromarray(np.roll(pixels, i, 0)) for i in range(3)]
    frames[0].save(moving, "png", save_all=True, append_images=frames[1:], duration=100)
    one, three = pack(one__png=still.getvalue(), three__png=moving.getvalue())
    with open_video(one) as picture, open_video(three) as film:
        np.testing.assert_array_equal(picture.frames([0])[0], pixels)
        assert film.num_frames == 3


def test_a_bad_file_is_named_by_its_place(real_clips, pack):
    whole = real_clips["bikes"].read_bytes()
    text, cut, empty = pack(text__mp4=b"no video", cut__mp4=whole[: len(whole) // 2], empty__mp4=b"")
    for path in (text, cut, empty):
        with pytest.raises(VideoError) as error:
            open_video(path)
        assert str(error.value).startswith(f"{path}: ")
        assert "/proc/" not in str(error.value)


def test_a_list_of_other_shards_is_noticed(real_clips, pack):
    path, _ = pack(a__mp4=real_clips["bikes"].read_bytes(), b__mp4=b"b")
    shard, offset, size = place_of(path)
    with pytest.raises(VideoError, match="no file starts at this place"):
        fetch(member_path(shard, offset + 512, size - 512, "a.mp4"))
    with pytest.raises(VideoError, match="no file starts at this place"):
        fetch(member_path(shard, offset, size - 1, "a.mp4"))
    with pytest.raises(VideoError, match="the shard ends before the end of this file"):
        fetch(member_path(shard, offset, 10**9, "a.mp4"))
    with pytest.raises(VideoError, match="No such file"):
        fetch(member_path(f"{shard}x.tar", offset, size, "a.mp4"))
    assert exists(path)
    assert not exists(member_path(f"{shard}x.tar", offset, size, "a.mp4"))


def test_any_url_of_fsspec_is_read(real_clips, pack):
    fsspec = pytest.importorskip("fsspec")
    path, _ = pack(bikes__mp4=real_clips["bikes"].read_bytes(), b__mp4=b"b")
    shard, offset, size = place_of(path)
    memory = fsspec.filesystem("memory")
    memory.pipe_file("/bucket/shard.tar", open(shard, "rb").read())  # noqa: PTH123, SIM115
    url = member_path("memory://bucket/shard.tar", offset, size, "bikes.mp4")
    assert fetch(url) == real_clips["bikes"].read_bytes()
    assert exists(url)
    with open_video(url) as there, open_video(path) as here:
        np.testing.assert_array_equal(there.frames([5]), here.frames([5]))
    with pytest.raises(VideoError, match=r"memory://bucket/none\.mp4: cannot be read from its store"):
        fetch("memory://bucket/none.mp4")


def test_an_unknown_store_is_not_the_fault_of_the_file():
    pytest.importorskip("fsspec")
    with pytest.raises(InputError, match=r"nosuch://a/b\.mp4: .*nosuch") as error:
        fetch("nosuch://a/b.mp4")
    assert not isinstance(error.value, VideoError)
