"""The sheet of samples that is drawn while training."""

from __future__ import annotations

import torch
from PIL import Image

from configs.schema import Config
from datasets.transforms import to_uint8
from functions.denoiser import Denoiser
from runners.sampling.drawer import Drawer
from runners.sampling.walk import walk_for
from runners.sheets import sheet

SHOWN = 36  # images on a sheet
ACROSS = 6
STEPS = 50  # of sampling


def draw_sheet(denoiser: Denoiser, config: Config, device: torch.device) -> Image.Image:
    """Draw SHOWN samples by DEIS of order 0 (DDIM, on any process) in at most STEPS steps, of all
    classes in turn.
    """
    process, data = denoiser.process, config.data
    sampling = config.sampling.model_copy(
        update={
            **{"timesteps": min(STEPS, process.steps or STEPS), "nfe": None},
            "skip_type": "uniform" if process.steps else "quad",
            "sample_type": "deis:0",
        }
    )
    plan = walk_for(config.model_copy(update={"sampling": sampling}), process).plan
    shape = (data.channels, data.image_size, data.image_size)
    classes = range(int(data.classes))
    drawer = Drawer(denoiser, plan, shape, config.seed, device, classes=classes)
    size = config.sampling.batch_size
    parts = [
        to_uint8(drawer(range(i, min(i + size, SHOWN))).nan_to_num(), data).cpu()
        for i in range(0, SHOWN, size)
    ]
    return sheet.sheet(torch.cat(parts).unflatten(0, (-1, ACROSS)).unbind(), least=32)
