"""Every kind of image comes out as (H, W, C) uint8, upright; masks come out untouched."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps

from decoupe.data.decode import BadImage, decode, image_size, read_image, read_mask
from decoupe.data.readers import MAX_PIXELS, Limit, Unreadable
from tests.data.files import noise, png_claiming, save, smooth


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "ppm", "webp", "gif"])
@pytest.mark.parametrize("bands", [1, 3])
def test_lossless_formats_give_the_pixels_back(tmp_path: Path, suffix: str, bands: int) -> None:
    pixels = noise(bands=3) // 64 * 64 if suffix == "gif" else noise(bands=bands)
    path = tmp_path / f"a.{suffix}"
    if suffix == "gif":
        save(path, np.repeat(pixels[:, :, :1], 3, axis=2))
        assert np.array_equal(read_image(path), np.repeat(pixels[:, :, :1], 3, axis=2))
        return
    save(path, pixels if bands == 3 else pixels[..., 0], **({"lossless": True} if suffix == "webp" else {}))
    expected = np.repeat(pixels, 3, axis=2) if (suffix, bands) == ("webp", 1) else pixels
    out = read_image(path)
    assert out.dtype == np.uint8 and np.array_equal(out, expected)


def test_jpeg_and_mpo_come_close(tmp_path: Path) -> None:
    for name, options in (("a.jpg", {"quality": 95}), ("b.mpo", {"quality": 95})):
        path = save(tmp_path / name, smooth(), **options)
        assert np.abs(read_image(path).astype(int) - smooth()).mean() < 3


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_exif_rotation_is_applied(tmp_path: Path, turn: int, suffix: str) -> None:
    image = Image.fromarray(noise(20, 40))
    exif = image.getexif()
    exif[274] = turn
    path = tmp_path / f"a.{suffix}"
    image.save(path, exif=exif)
    with Image.open(path) as stored:
        expected = np.asarray(ImageOps.exif_transpose(stored))
    assert expected.shape[0] == (20 if turn < 5 else 40)
    assert np.array_equal(read_image(path), expected)
    assert image_size(path) == expected.shape[:2] == decode(path).full


@pytest.mark.parametrize("turn", range(2, 9))
def test_tiff_with_bands_is_turned_too(tmp_path: Path, turn: int) -> None:
    pixels = noise(20, 40, 5)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig", extratags=[(274, 3, 1, turn, True)])
    image = Image.fromarray(pixels[..., :3])
    exif = image.getexif()
    exif[274] = turn
    image.save(tmp_path / "b.png", exif=exif)
    assert np.array_equal(read_image(path)[..., :3], read_image(tmp_path / "b.png"))


def test_palette_cmyk_and_alpha_become_rgb(tmp_path: Path) -> None:
    flat = np.zeros((16, 16, 3), np.uint8)
    flat[:, :8], flat[:, 8:] = (250, 10, 20), (0, 120, 0)
    Image.fromarray(flat).quantize(4).save(tmp_path / "palette.png")
    Image.fromarray(flat).convert("CMYK").save(tmp_path / "cmyk.tif")
    Image.fromarray(flat).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    for name, tolerance in (("palette.png", 8), ("cmyk.tif", 0), ("cmyk.jpg", 30)):
        out = read_image(tmp_path / name)
        assert out.shape == flat.shape
        assert np.abs(out.astype(int) - flat)[:, [2, 13]].max() <= tolerance, name
    rgba = np.dstack([flat, np.full((16, 16), 255, np.uint8)])
    rgba[0, :, 3], rgba[1, :, 3] = 0, 127
    Image.fromarray(rgba).save(tmp_path / "alpha.png")
    out = read_image(tmp_path / "alpha.png")
    assert (out[0] == 255).all() and np.array_equal(out[2:], flat[2:])
    assert abs(int(out[1, 0, 1]) - 133) <= 1
    Image.fromarray(rgba[..., [0, 3]]).save(tmp_path / "la.png")
    assert read_image(tmp_path / "la.png").shape == (16, 16, 1)


def test_sixteen_bits_follow_the_documented_steps(tmp_path: Path) -> None:
    for top, expected in ((200, [0, 100, 200]), (4095, [0, 128, 255]), (65535, [0, 128, 255])):
        values = np.array([0, (top + 1) // 2, top], np.uint16).repeat(16).reshape(3, 16)
        save(tmp_path / "a.png", values)
        seen = decode(tmp_path / "a.png")
        assert seen.bits == 16 and seen.pixels[:, 0, 0].tolist() == expected
    (tmp_path / "deep.png").write_bytes(png_claiming(9, 7, 16, 2, filled=True))
    assert decode(tmp_path / "deep.png").bits == 16 and read_image(tmp_path / "deep.png").shape == (7, 9, 3)
    colours = noise().astype(np.uint16) * 257
    tifffile.imwrite(tmp_path / "c.tif", colours, photometric="rgb")
    assert np.array_equal(read_image(tmp_path / "c.tif"), noise())


def test_floats_keep_zero_and_survive_nan(tmp_path: Path) -> None:
    values = np.array([[0, 0.5, 1.0], [np.nan, 0.25, np.inf]], np.float32)
    np.save(tmp_path / "a.npy", values)
    assert read_image(tmp_path / "a.npy")[..., 0].tolist() == [[0, 128, 255], [0, 64, 255]]
    tifffile.imwrite(tmp_path / "b.tif", np.array([[-10.0, 0, 30]], np.float32).repeat(4, 0))
    assert read_image(tmp_path / "b.tif")[0, :, 0].tolist() == [0, 64, 255]


@pytest.mark.parametrize("form", ["interleaved", "planar", "pages", "rows", "zlib", "lzw"])
@pytest.mark.parametrize("bands", [2, 4, 5])
def test_tiff_keeps_every_band(tmp_path: Path, form: str, bands: int) -> None:
    pixels = noise(20, 24, bands)
    path = tmp_path / "a.tif"
    first = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    if form == "planar":
        tifffile.imwrite(path, first, photometric="minisblack", planarconfig="separate")
    elif form == "pages":
        tifffile.imwrite(path, first, photometric="minisblack")
    elif form == "rows":
        tifffile.imwrite(path, pixels, photometric="minisblack")
    else:
        compression = None if form == "interleaved" else form
        tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig", compression=compression)
    assert np.array_equal(read_image(path), pixels)
    assert not decode(path).animated


def test_white_is_zero_is_turned_round(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", noise(bands=1)[..., 0], photometric="miniswhite")
    assert np.array_equal(read_image(tmp_path / "a.tif")[..., 0], 255 - noise(bands=1)[..., 0])
    tifffile.imwrite(tmp_path / "b.tif", noise(bands=1)[..., 0].astype(np.uint16) * 257, photometric="miniswhite")
    assert np.array_equal(read_image(tmp_path / "b.tif")[..., 0], 255 - noise(bands=1)[..., 0])


def test_animations_and_pages_give_the_asked_frame(tmp_path: Path) -> None:
    frames = [Image.new("L", (16, 16), value) for value in (10, 200, 90)]
    for suffix in ("gif", "png", "webp", "tif"):
        path = tmp_path / f"a.{suffix}"
        extra = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **extra)
        assert decode(path).animated, suffix
        assert read_image(path)[0, 0, 0] == 10 and read_image(path, frame=1)[0, 0, 0] == 200, suffix
        with pytest.raises(BadImage, match="no (frame|page) 7"):
            read_image(path, frame=7)
    assert not decode(save(tmp_path / "still.gif", noise(bands=1)[..., 0])).animated


def test_numpy_axes(tmp_path: Path) -> None:
    pixels = noise(20, 24, 4)
    np.save(tmp_path / "hwc.npy", pixels)
    np.save(tmp_path / "chw.npy", np.moveaxis(pixels, 2, 0))
    np.save(tmp_path / "fortran.npy", np.asfortranarray(pixels))
    np.savez(tmp_path / "a.npz", other=pixels[:, :, 0], image=pixels)
    np.savez_compressed(tmp_path / "b.npz", pixels)
    for name in ("hwc.npy", "chw.npy", "fortran.npy", "a.npz", "b.npz"):
        assert np.array_equal(read_image(tmp_path / name), pixels), name
    np.save(tmp_path / "flags.npy", pixels[..., 0] > 127)
    assert set(np.unique(read_image(tmp_path / "flags.npy"))) == {0, 255}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_round_trips(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    height, width, bands = data.draw(st.tuples(st.integers(6, 40), st.integers(1, 40), st.integers(1, 6)))
    pixels = data.draw(arrays(np.uint8, (height, width, bands)))
    folder = tmp_path_factory.mktemp("trip")
    form = {"planarconfig": "contig"} if bands > 1 else {}
    tifffile.imwrite(folder / "a.tif", pixels if bands > 1 else pixels[..., 0], photometric="minisblack", **form)
    assert np.array_equal(read_image(folder / "a.tif"), pixels)
    if bands in (1, 3):
        save(folder / "a.png", pixels if bands == 3 else pixels[..., 0])
        assert np.array_equal(read_image(folder / "a.png"), pixels)
    np.save(folder / "a.npy", pixels)
    assert np.array_equal(read_image(folder / "a.npy"), pixels)


def test_masks_keep_their_numbers(tmp_path: Path) -> None:
    labels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    indexed = Image.fromarray(labels)
    indexed.putpalette([v for i in range(256) for v in (i * 7 % 256, i * 13 % 256, 255 - i)])
    indexed.save(tmp_path / "palette.png")
    save(tmp_path / "grey.png", labels)
    save(tmp_path / "grey.tif", labels)
    save(tmp_path / "equal.bmp", np.repeat(labels[..., None], 3, axis=2))
    for name in ("palette.png", "grey.png", "grey.tif", "equal.bmp"):
        out = read_mask(tmp_path / name)
        assert out.dtype == np.int64 and np.array_equal(out, labels), name
    save(tmp_path / "wide.png", labels.astype(np.uint16) * 200)
    assert read_mask(tmp_path / "wide.png").max() == 255 * 200
    Image.fromarray(labels > 99).save(tmp_path / "bits.png")
    assert np.array_equal(read_mask(tmp_path / "bits.png"), labels > 99)
    save(tmp_path / "colour.png", noise())
    with pytest.raises(BadImage, match="colours"):
        read_mask(tmp_path / "colour.png")


def test_hint_never_goes_below_what_was_asked(tmp_path: Path) -> None:
    path = save(tmp_path / "a.jpg", smooth(400, 600))
    seen = decode(path, hint=100)
    assert seen.full == (400, 600) and seen.pixels.shape == (100, 150, 3)
    assert decode(path, hint=399).pixels.shape == (400, 600, 3)


def test_limit_names_the_option() -> None:
    with pytest.raises(Unreadable, match="--max-pixels 100"):
        Limit(100, 10**6).check(11, 10)
    with pytest.raises(Unreadable, match="no pixels"):
        Limit(100, 10**6).check(0, 10)
    Limit(MAX_PIXELS, 10**6).check(10_000, 10_000)
    with pytest.raises(Unreadable, match="bomb"):
        Limit(MAX_PIXELS, 20_000).check(13_000, 13_000)
    Limit(MAX_PIXELS + 1, 20_000).check(13_000, 13_000)
