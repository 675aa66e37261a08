import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tests.data.pictures import encoded, noise
from tune_cnn.data.decode import Pixels, UndecodableError, decode_image, fit_image

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def decoded(data: bytes) -> Pixels:
    return decode_image(data, max_megapixels=10)


def quarters() -> Image.Image:
    """16 x 8: red left above, green right above, blue left below, white right below."""
    pixels = np.empty((8, 16, 3), np.uint8)
    pixels[:4, :8], pixels[:4, 8:], pixels[4:, :8], pixels[4:, 8:] = RED, GREEN, BLUE, WHITE
    return Image.fromarray(pixels)


def corners(pixels: Pixels) -> list[tuple[int, ...]]:
    """Colours left above, right above, left below, right below, to the nearest of 0 and 255."""
    return [tuple(int(v) for v in np.where(pixels[y, x] > 127, 255, 0)) for y in (1, -2) for x in (1, -2)]


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        pytest.param("PNG", {}, id="png"),
        pytest.param("BMP", {}, id="bmp"),
        pytest.param("PPM", {}, id="ppm"),
        pytest.param("TIFF", {"compression": "tiff_lzw"}, id="tiff-lzw"),
        pytest.param("WEBP", {"lossless": True}, id="webp-lossless"),
    ],
)
def test_lossless_formats_give_back_every_pixel(file_format: str, options: dict[str, object]) -> None:
    image = noise(1)
    assert np.array_equal(decoded(encoded(image, file_format, **options)), np.asarray(image))


@pytest.mark.parametrize(
    ("file_format", "options"),
    [
        pytest.param("JPEG", {"quality": 95}, id="jpeg"),
        pytest.param("JPEG", {"quality": 95, "progressive": True}, id="progressive-jpeg"),
        pytest.param("MPO", {"quality": 95, "save_all": True, "append_images": [noise(2)]}, id="jpeg-of-two-pictures"),
        pytest.param("WEBP", {"quality": 95}, id="webp"),
        pytest.param("GIF", {"save_all": True, "append_images": [noise(2, (16, 8))]}, id="first-frame-of-a-gif"),
        pytest.param("TIFF", {"save_all": True, "append_images": [noise(2, (16, 8))]}, id="first-page-of-a-tiff"),
    ],
)
def test_the_first_picture_of_a_file_comes_out_with_its_colours(file_format: str, options: dict[str, object]) -> None:
    pixels = decoded(encoded(quarters(), file_format, **options))
    assert pixels.shape == (8, 16, 3)
    assert corners(pixels) == [RED, GREEN, BLUE, WHITE]


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize(
    ("orientation", "expected"),
    [
        pytest.param(1, [RED, GREEN, BLUE, WHITE], id="upright"),
        pytest.param(2, [GREEN, RED, WHITE, BLUE], id="mirrored"),
        pytest.param(3, [WHITE, BLUE, GREEN, RED], id="upside-down"),
        pytest.param(4, [BLUE, WHITE, RED, GREEN], id="mirrored-upside-down"),
        pytest.param(5, [RED, BLUE, GREEN, WHITE], id="transposed"),
        pytest.param(6, [BLUE, RED, WHITE, GREEN], id="camera-turned-left"),
        pytest.param(7, [WHITE, GREEN, BLUE, RED], id="transposed-the-other-way"),
        pytest.param(8, [GREEN, WHITE, RED, BLUE], id="camera-turned-right"),
        pytest.param(77, [RED, GREEN, BLUE, WHITE], id="an-orientation-that-does-not-exist"),
    ],
)
def test_the_orientation_of_the_camera_is_undone(
    file_format: str, orientation: int, expected: list[tuple[int, int, int]]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if file_format == "WEBP" else {"quality": 95} if file_format == "JPEG" else {}
    pixels = decoded(encoded(quarters(), file_format, exif=exif, **options))
    assert corners(pixels) == expected
    assert pixels.shape == ((8, 16, 3) if orientation not in (5, 6, 7, 8) else (16, 8, 3))


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_damaged_metadata_do_not_make_an_image_bad() -> None:
    data = encoded(quarters(), "JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff", quality=95)
    assert corners(decoded(data)) == [RED, GREEN, BLUE, WHITE]


def ramp(values: list[int], dtype: type[np.generic]) -> Image.Image:
    return Image.fromarray(np.tile(np.array(values, dtype), (4, 1)))


def palette_with_transparency() -> bytes:
    image = quarters().convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    return encoded(image, "PNG", transparency=image.getpixel((0, 0)))


def half_transparent_red(mode: str) -> bytes:
    return encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 128)).convert(mode), "PNG")


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(encoded(ramp([0, 127, 255], np.uint8), "PNG"), [(0,) * 3, (127,) * 3, WHITE], id="gray"),
        pytest.param(
            encoded(ramp([0, 257 * 100, 65535], np.uint16), "PNG"), [(0,) * 3, (100,) * 3, WHITE], id="16-bit-gray-png"
        ),
        pytest.param(
            encoded(ramp([0, 257 * 100 + 200, 65535], np.uint16), "TIFF"),
            [(0,) * 3, (101,) * 3, WHITE],
            id="16-bit-gray-tiff-is-rounded",
        ),
        pytest.param(
            b"P5 3 1 65535 " + struct.pack(">3H", 0, 257 * 100, 65535), [(0,) * 3, (100,) * 3, WHITE], id="16-bit-pgm"
        ),
        pytest.param(
            encoded(Image.fromarray(np.array([[False, True]])).convert("1"), "PNG"), [(0,) * 3, WHITE], id="1-bit"
        ),
        pytest.param(half_transparent_red("RGBA"), [(255, 127, 127)], id="half-transparent-red-over-white"),
        pytest.param(half_transparent_red("LA"), [(165, 165, 165)], id="half-transparent-gray-over-white"),
        pytest.param(palette_with_transparency(), [WHITE], id="transparent-palette-entry-over-white"),
        pytest.param(
            encoded(Image.new("RGB", (2, 2), RED), "PNG", transparency=RED), [WHITE], id="transparent-colour-over-white"
        ),
        pytest.param(
            encoded(Image.new("P", (2, 2), 0), "GIF", transparency=0), [WHITE], id="transparent-gif-over-white"
        ),
        pytest.param(
            encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100), [RED], id="cmyk-jpeg-red"
        ),
        pytest.param(encoded(Image.new("CMYK", (2, 2), (255, 0, 255, 0)), "TIFF"), [(0, 255, 0)], id="cmyk-tiff-green"),
    ],
)
def test_every_kind_of_pixel_becomes_rgb(data: bytes, expected: list[tuple[int, int, int]]) -> None:
    pixels = decoded(data)
    assert pixels.dtype == np.uint8
    assert pixels.flags.c_contiguous
    assert [tuple(int(v) for v in pixel) for pixel in pixels[0, : len(expected)]] == expected


PHOTO = noise(3, (64, 48))


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "empty file", id="empty"),
        pytest.param(bytes(500), "zeros only", id="zeros"),
        pytest.param(b"plain text, no image", "not one of JPEG, PNG, WEBP, BMP, GIF, TIFF, PPM", id="text"),
        pytest.param(b"\n<html><body>", "a web page or SVG", id="web-page"),
        pytest.param(b"\0\0\0\x20ftypavif" + bytes(60), "HEIC, AVIF", id="avif"),
        pytest.param(encoded(PHOTO, "JPEG")[:1500], "damaged or truncated JPEG", id="half-a-jpeg"),
        pytest.param(encoded(PHOTO, "JPEG", progressive=True)[:1500], "truncated JPEG", id="half-a-progressive-jpeg"),
        pytest.param(encoded(PHOTO, "PNG")[:5000], "damaged or truncated PNG", id="half-a-png"),
        pytest.param(encoded(PHOTO, "WEBP", lossless=True)[:5000], "damaged", id="half-a-webp"),
        pytest.param(encoded(PHOTO, "BMP")[:5000], "damaged or truncated BMP", id="half-a-bmp"),
        pytest.param(encoded(PHOTO, "TIFF")[:5000], "damaged", id="half-a-tiff"),
        pytest.param(encoded(PHOTO.convert("P"), "GIF")[:2500], "damaged or truncated GIF", id="half-a-gif"),
        pytest.param(encoded(PHOTO, "PPM")[:5000], "damaged or truncated PPM", id="half-a-ppm"),
        pytest.param(encoded(PHOTO.convert("F"), "TIFF"), "floating-point pixels", id="floating-point"),
        pytest.param(encoded(PHOTO.convert("I"), "TIFF"), "32-bit integer pixels", id="32-bit-integers"),
        pytest.param(encoded(PHOTO.convert("L"), "ICO"), "not one of JPEG, PNG", id="format-that-is-not-taken"),
    ],
)
def test_what_cannot_be_decoded_whole_is_refused_with_a_reason(data: bytes, says: str) -> None:
    with pytest.raises(UndecodableError, match=says):
        decoded(data)


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds next to nothing."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(100))
    chunks = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in (chunk, data))
    return b"\x89PNG\r\n\x1a\n" + chunks


def test_a_decompression_bomb_is_refused_from_its_header_and_without_a_warning() -> None:
    with pytest.raises(
        UndecodableError, match=r"60000 x 60000 pixels are 3600\.0 megapixels, more than image\.max_meg"
    ):
        decode_image(png_header(60_000, 60_000), max_megapixels=100)


def test_an_image_just_within_the_cap_is_decoded() -> None:
    assert decode_image(encoded(noise(1, (100, 100)), "PNG"), max_megapixels=0.01).shape == (100, 100, 3)


def pixels_or_reason(data: bytes) -> Pixels | str:
    try:
        return decode_image(data, max_megapixels=1)
    except UndecodableError as error:
        return str(error)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=150, deadline=None)
@given(
    file_format=st.sampled_from(["JPEG", "PNG", "WEBP", "BMP", "GIF", "PPM"]),
    changes=st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 255)), max_size=6),
    keep=st.floats(0.01, 1),
)
def test_damaged_bytes_give_pixels_or_a_reason_and_nothing_else(
    file_format: str, changes: list[tuple[int, int]], keep: float
) -> None:
    data = bytearray(encoded(noise(5, (12, 9)), file_format))
    for place, value in changes:
        data[place % len(data)] = value
    cut = bytes(data[: max(1, int(len(data) * keep))])
    outcome = pixels_or_reason(cut)
    assert "\n" not in outcome if isinstance(outcome, str) else outcome.shape[2:] == (3,)


def test_padding_keeps_the_whole_image_centred_on_black() -> None:
    fitted = fit_image(np.full((10, 40, 3), 200, np.uint8), 20, "pad")
    rows = fitted[:, :, 0].mean(axis=1)
    assert rows.tolist() == [0.0] * 7 + [200.0] * 5 + [0.0] * 8


def test_padding_keeps_even_the_thinnest_image() -> None:
    assert fit_image(np.full((1, 5000, 3), 200, np.uint8), 16, "pad").max() == 200


def test_cropping_keeps_the_centre_and_its_proportions() -> None:
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 200
    assert fit_image(image, 20, "crop")[:, 1:-1].min() > 190


def test_stretching_keeps_all_four_corners() -> None:
    assert corners(fit_image(np.asarray(quarters()), 10, "stretch")) == [RED, GREEN, BLUE, WHITE]


def test_an_image_of_the_right_size_is_left_alone() -> None:
    image = np.asarray(noise(1, (24, 24)))
    for fit in ("pad", "stretch", "crop"):
        assert np.array_equal(fit_image(image, 24, fit), image)


def test_shrinking_averages_instead_of_picking_pixels() -> None:
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    image = np.repeat(board[:, :, None], 3, axis=2).astype(np.uint8)
    fitted = fit_image(image, 16, "stretch")
    assert 120 <= fitted.min() <= fitted.max() <= 135


@given(st.integers(1, 70), st.integers(1, 70), st.integers(16, 40), st.sampled_from(["pad", "stretch", "crop"]))
def test_whatever_comes_in_a_square_comes_out(height: int, width: int, px: int, fit: str) -> None:
    fitted = fit_image(np.full((height, width, 3), 9, np.uint8), px, fit)  # type: ignore[arg-type] # sampled from the right ones
    assert fitted.shape == (px, px, 3)
    assert fitted.dtype == np.uint8
