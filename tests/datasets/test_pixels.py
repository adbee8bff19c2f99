import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import functional as tvf

from datasets import get_dataset
from datasets.pixels import decode, fit
from tests.images import chw, config, encoded, everything, noise, tree, write_folder


def test_alpha_is_laid_on_white_or_kept():
    pixels = noise(0, depth=4)
    pixels[0, 0] = (10, 20, 30, 0)
    pixels[0, 1] = (10, 20, 30, 255)
    image = decode(encoded(pixels), "a.png")
    rgb = fit(image, 8, 3)
    assert rgb[:, 0, 0].tolist() == [255, 255, 255]
    assert rgb[:, 0, 1].tolist() == [10, 20, 30]
    assert fit(image, 8, 1)[0, 0, 0] == 255
    assert np.array_equal(fit(image, 8, 4), pixels.transpose(2, 0, 1))


def test_a_transparent_palette_is_laid_on_white():
    image = Image.new("P", (8, 8), 0)
    image.putpalette([200, 0, 0, 0, 0, 255])
    image.putpixel((0, 0), 1)
    image.info["transparency"] = 0
    rgb = fit(image, 8, 3)
    assert rgb[:, 4, 4].tolist() == [255, 255, 255]
    assert rgb[:, 0, 0].tolist() == [0, 0, 255]


def test_grey_and_colour_become_each_other():
    grey = noise(1, depth=1)
    assert np.array_equal(fit(decode(encoded(grey), "g.png"), 8, 3), np.stack([grey] * 3))
    rgb = noise(2)
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    assert np.abs(fit(decode(encoded(rgb), "c.png"), 8, 1)[0] - luma).max() <= 1


def test_sixteen_bit_grey_is_scaled_not_clipped():
    levels = np.linspace(0, 65535, 64).astype(np.uint16).reshape(8, 8)
    got = fit(decode(encoded(levels), "deep.png"), 8, 1)[0]
    assert np.array_equal(got, np.rint(levels / 257).astype(np.uint8))


def test_two_level_and_cmyk_images_are_read():
    two = Image.fromarray(noise(3, depth=1) > 127)
    assert set(np.unique(fit(two, 8, 3))) == {0, 255}
    cmyk = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert fit(cmyk, 8, 3)[:, 0, 0].tolist() == [255, 0, 0]


def test_arrays_of_any_channel_count(tmp_path):
    for i in range(3):
        np.save(tmp_path / f"{i}.npy", noise(i, depth=5))
    dataset = get_dataset(config(path=tmp_path, channels=5))[0]
    assert torch.equal(everything(dataset)[2], chw(noise(2, depth=5)))
    shrunk = get_dataset(config(path=tmp_path, channels=5, image_size=4))[0]
    assert shrunk.shape == (5, 4, 4)
    with pytest.raises(OSError, match="array of 5 channels cannot be made 3"):
        get_dataset(config(path=tmp_path, channels=3))


def test_an_image_cannot_give_five_channels(tmp_path):
    write_folder(tmp_path, tree(["a.png"]))
    with pytest.raises(OSError, match="mode RGB cannot be made 5 channels"):
        get_dataset(config(path=tmp_path, channels=5))


@pytest.mark.parametrize("shape", [(20, 13), (13, 20), (9, 9), (5, 7), (8, 8), (31, 8)])
def test_geometry_is_torchvisions_resize_and_centre_crop(shape):
    pixels = noise(4, *shape)
    wanted = tvf.center_crop(tvf.resize(Image.fromarray(pixels), 8), 8)
    assert np.array_equal(fit(pixels, 8, 3), np.asarray(wanted).transpose(2, 0, 1))


def test_a_camera_s_turned_picture_is_turned_back():
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    pixels = noise(5)
    turned = decode(encoded(pixels, exif=exif), "t.png")
    assert np.array_equal(fit(turned, 8, 3), pixels[::-1, ::-1].transpose(2, 0, 1))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG"])
def test_every_format_is_read(tmp_path, kind):
    ending = {"TIFF": "tif", "JPEG": "jpeg"}.get(kind, kind.lower())
    flat = np.full((8, 8, 3), (40, 120, 200), dtype=np.uint8)
    options = {"lossless": True} if kind == "WEBP" else {}
    write_folder(tmp_path, {f"a.{ending}": encoded(flat, kind, **options)})
    pixels = everything(get_dataset(config(path=tmp_path))[0])[0]
    assert (pixels.int() - chw(flat).int()).abs().max() <= (3 if kind == "JPEG" else 0)
