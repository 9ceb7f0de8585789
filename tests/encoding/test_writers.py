"""Films written frame by frame: rates, times, sound, folders, and nothing where it fails."""

from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image, ImageCms

from diffmae_video import InputError
from diffmae_video.data import open_video
from diffmae_video.encoding.writers import open_film
from diffmae_video.errors import InputWarning
from tests.encoding.test_clips import moving


def write(path, frames, *args, **kwargs):
    with open_film(path, *args, **kwargs) as add:
        for frame in frames:
            add(frame)


def sounding(path, codec="aac", frames=None, fps=10, seconds=1.0):
    """A film with a tone."""
    frames = moving(count=round(seconds * fps)) if frames is None else frames
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264" if path.suffix != ".webm" else "libvpx-vp9", rate=fps)
        video.height, video.width, video.pix_fmt = *frames.shape[1:3], "yuv420p"
        rate = 48000
        audio = container.add_stream(codec, rate=rate)
        audio.layout = "mono"
        tone = (np.sin(np.arange(int(seconds * rate)) * 0.06) * 8000).astype(np.int16)[None]
        for i, frame in enumerate(frames):
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            part = tone[:, i * rate // fps : (i + 1) * rate // fps]
            samples = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="s16", layout="mono")
            samples.rate, samples.pts, samples.time_base = rate, i * rate // fps, Fraction(1, rate)
            resampler = av.AudioResampler(format=audio.codec_context.format, layout="mono", rate=rate)
            for ready in resampler.resample(samples):
                container.mux(audio.encode(ready))
        container.mux(video.encode(None))
        container.mux(audio.encode(None))
    return frames


def packets(path):
    """The sound as it is stored: times and bytes."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        return [(float(p.pts * p.time_base), bytes(p)) for p in container.demux(stream) if p.size]


@pytest.mark.parametrize("ending", [".mp4", ".webm", ".gif"])
@pytest.mark.parametrize("fps", [24, 30000 / 1001])
def test_films_keep_rate_size_and_frames(tmp_path, ending, fps):
    frames = moving(47, 63, 9)
    write(tmp_path / f"a{ending}", frames, fps)
    with av.open(str(tmp_path / f"a{ending}")) as container:
        back = [f.to_ndarray(format="rgb24") for f in container.decode(video=0)]
        rate = float(container.streams.video[0].average_rate)
    assert len(back) == 9
    if ending == ".gif":  # each frame's time is rounded, and not the mean of them
        with Image.open(tmp_path / "a.gif") as gif:
            durations = [gif.seek(i) or gif.info["duration"] for i in range(9)]
        assert sum(durations[:8]) == pytest.approx(8000 / fps, abs=5)
    else:
        assert rate == pytest.approx(fps, rel=1e-3)
    even = back[0].shape[:2]
    assert even == ((47, 63) if ending == ".gif" else (48, 64))
    for one, other in zip(back, frames, strict=True):
        assert np.abs(one[:47, :63].astype(int) - other).mean() < 4


@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_times_that_are_not_steady_are_kept(tmp_path, ending):
    times = np.array([0, 0.1, 0.15, 0.4, 0.45, 0.9])
    write(tmp_path / f"a{ending}", moving(), 6, times=times)
    with open_video(tmp_path / f"a{ending}", "pyav") as video:
        assert np.abs(video.times - times).max() < 2e-3
    steady = np.round(np.arange(6) / 30, 3)  # as Matroska rounds them
    write(tmp_path / f"b{ending}", moving(), 30, times=steady)
    with open_video(tmp_path / f"b{ending}", "pyav") as video:
        assert video.fps == 30


@pytest.mark.parametrize(("codec", "ending"), [("aac", ".mp4"), ("libmp3lame", ".mp4"), ("libopus", ".webm")])
def test_sound_is_copied_to_the_bit(tmp_path, codec, ending):
    source = tmp_path / f"source{'.mkv' if ending == '.mp4' and codec != 'aac' else ending}"
    frames = sounding(source, codec)
    write(tmp_path / f"a{ending}", frames, 10, sound=source)
    before, after = packets(source), packets(tmp_path / f"a{ending}")
    assert [data for _, data in after] == [data for _, data in before]
    shift = np.array([t for t, _ in after]) - np.array([t for t, _ in before])
    assert np.abs(shift).max() < 0.03  # of a frame; containers differ in how they state the encoder's delay
    with open_video(tmp_path / f"a{ending}", "pyav") as video:
        assert video.num_frames == 10


@pytest.mark.parametrize("ending", [".webm", ".gif"])
def test_sound_that_does_not_fit_is_left_out_with_a_warning(tmp_path, ending):
    frames = sounding(tmp_path / "a.mp4")
    with pytest.warns(InputWarning, match=rf"the sound \(aac\) is left out: \{ending} cannot hold it"):
        write(tmp_path / f"b{ending}", frames, 10, sound=tmp_path / "a.mp4")
    with av.open(str(tmp_path / f"b{ending}")) as container:
        assert len(list(container.decode(video=0))) == 10
        assert not container.streams.audio


def test_frames_of_a_folder_are_exact_and_replaced_whole(tmp_path):
    frames = moving()
    for count in (6, 4):
        write(tmp_path / "a.png", frames[:count], 5, times=np.arange(count) / 5)
        names = sorted(p.name for p in (tmp_path / "a").iterdir())
        assert names == [f"{i:05d}.png" for i in range(count)]
    assert np.array_equal(np.asarray(Image.open(tmp_path / "a/00003.png")), frames[3])
    assert [p.name for p in tmp_path.iterdir()] == ["a"]

    (tmp_path / "a/notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds other things than frames"):
        write(tmp_path / "a.png", frames, 5, times=np.arange(6) / 5)
    assert (tmp_path / "a/notes.txt").exists()


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.gif", "a.png"])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_stays_of_a_film_that_was_not_finished(tmp_path, name, error):
    def stop():
        with open_film(tmp_path / name, 5, times=np.arange(6) / 5) as add:
            for frame in moving()[:3]:
                add(frame)
            raise error

    with pytest.raises(error):
        stop()
    assert list(tmp_path.iterdir()) == []


def test_a_picture_needs_its_frame(tmp_path):
    with pytest.raises(InputError, match="there is none"):
        write(tmp_path / "a.png", [], 5)
    assert list(tmp_path.iterdir()) == []


def shown_at(path):
    """Seconds at which frames are shown."""
    with av.open(str(path)) as container:
        return [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]


@pytest.mark.parametrize("fps", [60, 120, 240])
def test_a_gif_of_a_fast_film_is_as_fast_as_browsers_play_it(tmp_path, fps):
    write(tmp_path / "a.gif", moving(32, 32, 12), fps)
    assert shown_at(tmp_path / "a.gif") == pytest.approx([0.02 * i for i in range(12)])


@pytest.mark.parametrize("ending", [".gif", ".mp4", ".webm"])
def test_frames_that_come_unevenly_or_at_once_are_all_written(tmp_path, ending):
    times = np.array([0, 0.04, 0.08, 0.48, 0.48, 0.5, 0.6])
    write(tmp_path / f"a{ending}", moving(32, 32, len(times)), 10, times=times)
    assert shown_at(tmp_path / f"a{ending}") == pytest.approx(times, abs=0.041 if ending == ".gif" else 2e-3)


@pytest.mark.parametrize("ending", [".mp4", ".webm"])
def test_the_shape_of_pixels_and_what_is_said_of_colours_stay(tmp_path, ending):
    codec = "libx264" if ending == ".mp4" else "libvpx-vp9"
    wide = Fraction(16, 11) if ending == ".mp4" else Fraction(1)
    for name, aspect, matrix in (("dv", wide, 2), ("hd", Fraction(1), 1)):
        with av.open(str(tmp_path / f"{name}{ending}"), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
            stream.codec_context.sample_aspect_ratio = aspect
            stream.codec_context.colorspace = matrix
            for frame in moving(48, 64, 4):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode(None))
        with open_video(tmp_path / f"{name}{ending}", "pyav") as video:
            assert (video.aspect, video.colours.matrix != 2) == (aspect, matrix != 2)
            write(tmp_path / f"out{ending}", video.frames(range(4)), video.fps, like=video)
        with open_video(tmp_path / f"out{ending}", "pyav") as video:
            assert (video.aspect, video.colours.matrix != 2) == (aspect, matrix != 2)


def test_a_picture_keeps_its_profile_of_colours(tmp_path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(moving(32, 32, 1)[0]).save(tmp_path / "a.png", icc_profile=profile)
    with open_video(tmp_path / "a.png", "pyav") as picture:
        write(tmp_path / "b.png", picture.frames([0]), 1, times=picture.times, like=picture)
    assert Image.open(tmp_path / "b.png").info["icc_profile"] == profile
