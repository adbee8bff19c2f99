"""Conversion of one image to a uint8 array of given size and channels.

An image is resized and cropped as by torchvision's `Resize(size)` and `CenterCrop(size)` on Pillow
images (bilinear with antialiasing), as the DDIM repository does. Channels are converted before:

* grey to RGB repeats, RGB to grey is ITU-R 601 luma, CMYK and palettes go through RGB;
* transparency is laid on white for 1 and 3 channels, and kept for 2 (grey, alpha) and 4 (RGBA);
* 16-bit grey is scaled by 1/257 and rounded (Pillow's own conversion clips it at 255);
* `.npy` arrays (uint8, H x W or H x W x C) may have any number of channels.
"""

import io
import struct
import zipfile
import zlib

import numpy as np
from PIL import Image, ImageOps

MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
ORIENTATION = 0x0112  # EXIF tag that cameras write instead of turning the pixels

Picture = Image.Image | np.ndarray
Box = tuple[int, int, int, int]  # left, top, right, bottom

# errors of Pillow, zipfile and NumPy for damaged, encrypted or foreign files
BAD_FILE = (
    OSError,
    ValueError,
    TypeError,
    LookupError,
    SyntaxError,
    EOFError,
    RuntimeError,
    OverflowError,
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    Image.DecompressionBombError,
)


def decode(data: bytes, name: str) -> Picture:
    """Decode the bytes of an image file. Raises one of BAD_FILE where they are damaged."""
    if name.lower().endswith(".npy"):
        return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    image = Image.open(io.BytesIO(data))
    image.load()
    if image.getexif().get(ORIENTATION, 1) != 1:
        return ImageOps.exif_transpose(image)
    return image


def fit(picture: Picture, size: int, channels: int, box: Box | None = None) -> np.ndarray:
    """Crop an image to `box`, resize its shorter side to `size`, and crop the centre.

    Returns uint8 (channels, size, size). Raises ValueError for an image that cannot have that many
    channels, or does not contain the box.
    """
    if isinstance(picture, np.ndarray):
        planes = _planes_of_array(picture, channels)
    else:
        planes = [_with_channels(picture, channels)]
    arrays = [np.asarray(_resized(_cropped(plane, box), size)) for plane in planes]
    pixels = np.concatenate([np.atleast_3d(array) for array in arrays], axis=2)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def describe(picture: Picture) -> tuple[str, int, int]:
    """Give (mode, width, height) of an image, for reports."""
    if isinstance(picture, np.ndarray):
        depth = picture.shape[2] if picture.ndim == 3 else 1
        return f"{picture.dtype} x {depth}", picture.shape[1], picture.shape[0]
    return picture.mode, *picture.size


def _planes_of_array(pixels: np.ndarray, channels: int) -> list[Image.Image]:
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3) or 0 in pixels.shape:
        raise ValueError(
            f"array of {pixels.dtype} {pixels.shape}: expected uint8, height x width [x channels]"
        )
    pixels = np.atleast_3d(pixels)
    depth = pixels.shape[2]
    if depth == channels and depth not in (1, 3):  # plain channels, the fourth is not an alpha
        return [Image.fromarray(np.ascontiguousarray(pixels[..., i])) for i in range(depth)]
    if depth not in MODES:
        raise ValueError(f"an array of {depth} channels cannot be made {channels} channels")
    image = Image.fromarray(np.ascontiguousarray(pixels[..., 0] if depth == 1 else pixels))
    return [_with_channels(image, channels)]


def _with_channels(image: Image.Image, channels: int) -> Image.Image:
    mode = MODES.get(channels)
    if mode is None:
        raise ValueError(f"an image of mode {image.mode} cannot be made {channels} channels")
    if image.mode == mode and "transparency" not in image.info:
        return image
    if image.mode == "F":
        raise ValueError("an image of floating-point numbers has no known range of grey")
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64).clip(0, 65535)
        image = Image.fromarray(((levels + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if channels in (1, 3):
            white = Image.new("RGBA", image.size, (255, 255, 255, 255))
            image = Image.alpha_composite(white, image).convert("RGB")
    elif image.mode in ("P", "PA"):
        image = image.convert("RGB")  # some palettes do not convert to every mode
    return image.convert(mode)


def _cropped(image: Image.Image, box: Box | None) -> Image.Image:
    if box is None:
        return image
    if box[2] > image.width or box[3] > image.height:
        raise ValueError(f"{image.width}x{image.height} pixels do not contain the crop {box}")
    return image.crop(box)


def _resized(image: Image.Image, size: int) -> Image.Image:
    width, height = image.size
    long = int(size * max(width, height) / min(width, height))
    target = (size, long) if width <= height else (long, size)
    if target != image.size:
        image = image.resize(target, Image.Resampling.BILINEAR)
    left = round((target[0] - size) / 2)
    top = round((target[1] - size) / 2)
    return image if target == (size, size) else image.crop((left, top, left + size, top + size))
