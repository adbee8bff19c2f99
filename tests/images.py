"""Small fixtures: data sections and trees of images made on the fly."""

import io
import types
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

DATA = {
    "dataset": "FOLDER",
    "path": None,
    "test_path": None,
    "holdout": 0.0,
    "options": {},
    "download": False,
    "image_size": 8,
    "channels": 3,
    "in_memory": True,
    "rescaled": True,
    "logit_transform": False,
    "uniform_dequantization": False,
    "gaussian_dequantization": False,
}


def config(**data):
    values = {k: str(v) if isinstance(v, Path) else v for k, v in {**DATA, **data}.items()}
    return types.SimpleNamespace(data=types.SimpleNamespace(**values))


def noise(seed, height=8, width=8, depth=3):
    shape = (height, width, depth) if depth > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(pixels, kind="PNG", **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind, **options)
    return buffer.getvalue()


def tree(names, **shape):
    """A file's bytes by name: one image of noise each."""
    return {name: encoded(noise(seed, **shape)) for seed, name in enumerate(names)}


def write_folder(root, files):
    for name, contents in files.items():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(contents)
    return root


def write_zip(path, files):
    with zipfile.ZipFile(path, "w") as archive:
        for name, contents in files.items():
            archive.writestr(name, contents)
    return path


def chw(pixels):
    return torch.from_numpy(np.atleast_3d(pixels).transpose(2, 0, 1).copy())


def everything(dataset):
    return dataset.images(range(len(dataset)))
