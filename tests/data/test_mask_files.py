"""Masks from pictures, videos, animated pictures and folders."""

import av
import numpy as np
import pytest
from PIL import Image, features

from diffmae_video import InputError
from diffmae_video.data.mask_files import is_mask_film, open_mask_film, read_mask_picture
from diffmae_video.encoding.clips import write_video


def rectangle():
    """A white rectangle on black: uint8 [20, 30]."""
    drawn = np.zeros((20, 30), np.uint8)
    drawn[5:12, 10:30] = 255
    return drawn


def growing(count=4):
    """Masks whose hidden left part grows by four pixels: bool [count, 48, 64]."""
    masks = np.zeros((count, 48, 64), bool)
    for t, mask in enumerate(masks):
        mask[:, : 16 + 4 * t] = True
    return masks


def opaque_black(mask):
    """A black picture that is opaque where the mask hides."""
    pixels = np.zeros((*mask.shape, 4), np.uint8)
    pixels[..., 3] = 255 * mask
    return Image.fromarray(pixels)


def black_and_white(mask):
    return Image.fromarray(255 * mask.astype(np.uint8)).convert("RGB")


def save_animation(path, pictures, milliseconds=100, **options):
    first, *others = pictures
    first.save(path, save_all=True, append_images=others, duration=milliseconds, **options)


def read_film(path, num_frames=4):
    assert is_mask_film(path)
    film = open_mask_film(path, num_frames)
    assert (film.height, film.width) == (48, 64)
    masks = film.hidden(0, film.num_frames)
    assert np.array_equal(film.hidden(1, 3), masks[1:3])  # going back
    assert np.array_equal(film.hidden(3, film.num_frames), masks[3:])
    film.close()
    return masks


# --- pictures ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["L", "RGB", "1", "P", "RGBA", "LA"])
def test_white_on_black_hides_where_it_is_white(tmp_path, mode):
    Image.fromarray(rectangle()).convert(mode).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask_picture(tmp_path / "mask.png"), rectangle() > 0)


@pytest.mark.parametrize("ending", ["png", "webp", "gif", "tiff"])
def test_with_transparency_a_picture_hides_where_it_is_opaque(tmp_path, ending):
    picture = Image.new("RGBA", (30, 20), (0, 0, 0, 0))
    picture.putalpha(Image.fromarray(rectangle()))
    picture.save(tmp_path / f"mask.{ending}")
    assert np.array_equal(read_mask_picture(tmp_path / f"mask.{ending}"), rectangle() > 0)


def test_pictures_of_editors_and_cameras(tmp_path):
    """16 bits, EXIF rotation, a single channel, and grey edges."""
    drawn = rectangle()
    plain = Image.fromarray(drawn)
    deep = np.where(drawn > 0, 40000, 2000).astype(np.uint16)  # 2,000 of 65,535 is nearly black
    Image.fromarray(deep).save(tmp_path / "deep.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise by a quarter
    for name, picture in (("turned", plain), ("turned_numbers", Image.fromarray(drawn // 255))):
        picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / f"{name}.png", exif=exif)
    Image.fromarray(np.stack([drawn, 0 * drawn, 0 * drawn], -1)).save(tmp_path / "red.png")
    soft = np.where(drawn > 0, drawn, np.arange(30, dtype=np.uint8) * 4)
    for mode in ("L", "RGB", "P"):
        Image.fromarray(soft).convert(mode).save(tmp_path / f"soft_{mode}.png")
    for path in sorted(tmp_path.iterdir()):
        assert np.array_equal(read_mask_picture(path), drawn > 0), path.name


def voc_palette():
    """The palette of PASCAL VOC and DAVIS, by its published construction."""
    palette = np.zeros((256, 3), np.uint8)
    for number in range(256):
        for bit in range(8):
            palette[number, bit % 3] |= (number >> bit & 1) << (7 - bit // 3)
    return palette


@pytest.mark.parametrize("mode", ["P", "RGB"])
@pytest.mark.parametrize("numbers", [(1,), (8, 16), tuple(range(1, 256))])
def test_every_object_of_a_davis_mask_is_hidden(tmp_path, numbers, mode):
    drawn = np.zeros((20, 255), np.uint8)
    drawn[3:9, : len(numbers)] = numbers
    picture = Image.fromarray(drawn)
    picture.putpalette(voc_palette().tobytes())
    picture.convert(mode).save(tmp_path / "00000.png")
    assert np.array_equal(read_mask_picture(tmp_path / "00000.png"), drawn > 0)


def test_the_davis_palette_is_complete():
    assert {tuple(colour) for colour in voc_palette().tolist()} == {
        (r, g, b) for r in range(0, 256, 32) for g in range(0, 256, 32) for b in range(0, 256, 64)
    }


def test_numbers_of_objects_are_hidden_in_other_palettes_and_in_grey(tmp_path):
    drawn = np.where(rectangle() > 0, 3, 0).astype(np.uint8)
    drawn[6] = 1
    Image.fromarray(drawn).save(tmp_path / "grey.png")
    Image.fromarray(drawn.astype(np.uint16)).save(tmp_path / "grey16.png")
    picture = Image.fromarray(drawn)
    picture.putpalette([0, 0, 0, 11, 12, 13, 0, 0, 0, 90, 0, 17])
    picture.save(tmp_path / "palette.png")
    for path in sorted(tmp_path.iterdir()):
        assert np.array_equal(read_mask_picture(path), drawn > 0), path.name


def test_noise_of_compression_is_not_an_object(tmp_path):
    noise = np.random.default_rng(0).integers(0, 4, (48, 64), np.uint8)
    for path, picture in (
        (tmp_path / "grey.jpg", Image.fromarray(noise)),
        (tmp_path / "colour.png", Image.fromarray(noise).convert("RGB")),
        (tmp_path / "colour.gif", Image.fromarray(noise).convert("RGB")),
    ):
        picture.save(path)
        assert not read_mask_picture(path).any(), path.name


def test_what_is_not_a_mask_is_named(tmp_path):
    (tmp_path / "mask.png").write_text("text")
    for name in ("mask.png", "none.png"):
        with pytest.raises(InputError, match=name):
            read_mask_picture(tmp_path / name)
    (tmp_path / "mask.webm").write_text("text")
    (tmp_path / "folder").mkdir()
    for name, message in (("mask.webm", "mask.webm"), ("none.mp4", "no such file"), ("folder", "no picture")):
        with pytest.raises(InputError, match=message):
            open_mask_film(tmp_path / name, 4)


# --- films -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["mp4", "gif"])
def test_a_film_of_white_on_black(tmp_path, ending):
    frames = 255 * growing().astype(np.uint8)[..., None].repeat(3, -1)
    write_video(tmp_path / f"mask.{ending}", frames, 10)
    assert np.array_equal(read_film(tmp_path / f"mask.{ending}"), growing())


@pytest.mark.parametrize("ending", ["gif", "png", "apng", "webp", "avif"])
@pytest.mark.parametrize("draw", [opaque_black, black_and_white])
def test_animated_pictures(tmp_path, ending, draw):
    if ending == "avif" and not features.check("avif"):
        pytest.skip("this Pillow cannot write AVIF")
    path = tmp_path / f"mask.{ending}"
    options = {"webp": {"lossless": True}, "apng": {"format": "PNG"}, "avif": {"quality": 100}}
    save_animation(path, [draw(mask) for mask in growing()], **options.get(ending, {}))
    assert np.array_equal(read_film(path), growing())


@pytest.mark.parametrize(
    ("name", "codec", "pixels"),
    [
        ("a.webm", "libvpx-vp9", "yuva420p"),
        ("a.webm", "libvpx", "yuva420p"),
        ("a.mov", "qtrle", "argb"),
        ("a.mov", "prores_ks", "yuva444p10le"),
        ("a.mov", "png", "rgba"),
        ("a.mkv", "ffv1", "yuva444p"),
        ("a.avi", "utvideo", "gbrap"),
    ],
)
def test_transparent_videos(tmp_path, name, codec, pixels):
    with av.open(str(tmp_path / name), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 48, pixels
        if codec == "libvpx":
            stream.options = {"auto-alt-ref": "0"}
        for mask in growing(6):
            frame = av.VideoFrame.from_ndarray(np.asarray(opaque_black(mask)), format="rgba")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert np.array_equal(read_film(tmp_path / name), growing(6))


def test_transparency_counts_for_the_whole_film(tmp_path):
    """One opaque frame of a transparent film is hidden whole, and an alpha channel that is opaque throughout
    is ignored."""
    masks = growing()
    masks[2] = True
    save_animation(tmp_path / "mask.png", [opaque_black(mask) for mask in masks])
    assert np.array_equal(read_film(tmp_path / "mask.png"), masks)
    save_animation(tmp_path / "opaque.png", [black_and_white(m).convert("RGBA") for m in growing()])
    assert np.array_equal(read_film(tmp_path / "opaque.png"), growing())


@pytest.mark.parametrize("ending", ["gif", "png", "webp"])
@pytest.mark.parametrize("milliseconds", [40, 100])
def test_merged_frames_of_an_animation_are_repeated(tmp_path, ending, milliseconds):
    """Encoders merge equal frames, here into four of ten."""
    masks = growing()[[0, 0, 0, 1, 2, 2, 3, 3, 3, 3]]
    path = tmp_path / f"mask.{ending}"
    options = {"lossless": True} if ending == "webp" else {}
    save_animation(path, [opaque_black(mask) for mask in masks], milliseconds, **options)
    with Image.open(path) as stored:
        assert stored.n_frames == 4
    assert np.array_equal(read_film(path, 10), masks)
    for other in (3, 4, 7, 9, 11, 13):  # for films of another length they are what they are
        assert len(read_film(path, other)) == 4, other


def test_davis_colours_of_an_animated_gif(tmp_path):
    pictures = []
    for mask in growing():
        colours = np.zeros((48, 64, 3), np.uint8)
        colours[mask] = (64, 0, 0)
        colours[:10][mask[:10]] = (0, 128, 0)
        pictures.append(Image.fromarray(colours))
    save_animation(tmp_path / "mask.gif", pictures)
    assert np.array_equal(read_film(tmp_path / "mask.gif"), growing())


def test_a_folder_of_pictures_in_natural_order(tmp_path):
    masks = growing(11)
    for number, mask in enumerate(masks, 1):
        draw = opaque_black if number % 2 else black_and_white
        draw(mask).save(tmp_path / f"mask{number}.png")
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "._mask3.png").write_text("")
    assert np.array_equal(read_film(tmp_path), masks)
    Image.new("L", (32, 48)).save(tmp_path / "mask12.png")
    with pytest.raises(InputError, match="mask 11 has 32 x 48 pixels and the first one 64 x 48"):
        open_mask_film(tmp_path, 12)


def test_a_still_gif_is_a_picture(tmp_path):
    black_and_white(growing()[1]).save(tmp_path / "still.gif")
    assert not is_mask_film(tmp_path / "still.gif")
    assert np.array_equal(read_mask_picture(tmp_path / "still.gif"), growing()[1])
