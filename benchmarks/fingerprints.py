"""Fingerprints of what the program computes, to be equal before and after a refactoring.

Trains the digits for 200 steps, samples 64 images with every sampler below, runs a small sweep and
draws one picture of each mode, all through `main.py`, and prints a SHA-256 of each: checkpoint
tensors, decoded pixels, the sweep's CSV without its columns of time. Run it twice on one machine:

    python benchmarks/fingerprints.py /tmp/before > before.txt     (on the old commit)
    python benchmarks/fingerprints.py /tmp/after > after.txt && diff before.txt after.txt
"""

from __future__ import annotations

import csv
import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
SAMPLERS = (
    *("generalized", "ddim:1", "ddpm_noisy", "s_pndm", "f_pndm", "ipndm", "deis:3", "deis:2:rho"),
    *("gddim:2:corrector=true", "rho_rk:kutta3", "heun:10", "dpm_solver_pp:2", "unipc:3", "euler"),
)
TIMED = ("seconds", "seconds_per_image", "date", "device")
PICTURES = {
    "sequence": ["--sequence", "--n_samples", "2", "--timesteps", "10"],
    "grid": ["--grid", "2x4", "--timesteps", "10"],
    "nearest": ["--nearest", "--n_samples", "2", "--timesteps", "10"],
    "interpolation": ["--interpolation", "--seeds", "1,2", "--points", "4", "--timesteps", "10"],
    "inpaint": ["--inpaint", "--mask", "half", "--eta", "1", "--fills", "2", "--timesteps", "10"],
    "img2img": ["--img2img", "--strength", "0.5", "--timesteps", "10"],
}


def run(exp: Path, *words: str) -> None:
    command = [sys.executable, str(ROOT / "main.py"), "--exp", str(exp), "--doc", "run", "--ni"]
    subprocess.run([*command, "--verbose", "error", *words], check=True, cwd=ROOT)


def of_tensors(state: dict) -> str:
    sha = hashlib.sha256()
    for part in (state["network"], *state["ema"]["averages"]):
        for name in sorted(part):
            sha.update(name.encode() + part[name].contiguous().numpy().tobytes())
    return sha.hexdigest()


def of_images(folder: Path, count: int) -> str:
    sha = hashlib.sha256()
    for index in range(count):
        sha.update(np.asarray(Image.open(folder / f"{index}.png")).tobytes())
    return sha.hexdigest()


def of_csv(path: Path) -> str:
    with path.open(newline="") as file:
        rows = [[v for k, v in row.items() if k not in TIMED] for row in csv.DictReader(file)]
    return hashlib.sha256(repr(rows).encode()).hexdigest()


def main(exp: Path) -> None:
    run(exp, "--config", "digits.yml", "--seed", "0", "--training.n_iters", "200",
        "--training.sample_freq", "200")  # fmt: skip
    state = torch.load(exp / "logs/run/ckpt_200.pth", weights_only=True)
    print("checkpoint", of_tensors(state), flush=True)
    for sampler in SAMPLERS:
        folder = sampler.replace(":", "-")
        words = ["--sample_type", sampler, "--timesteps", "8", "--n_samples", "64", "-i", folder]
        run(exp, "--sample", "--images", *words)
        print("sampler", sampler, of_images(exp / "image_samples" / folder, 64), flush=True)
    given = [str(exp / f"image_samples/generalized/{i}.png") for i in range(2)]
    for mode, words in PICTURES.items():
        image = ["--image", *given] if mode in ("inpaint", "img2img") else []
        run(exp, "--sample", *words, *image)
        picture = np.asarray(Image.open(exp / "image_samples/run" / mode / f"{mode}.png"))
        print("picture", mode, hashlib.sha256(picture.tobytes()).hexdigest(), flush=True)
    words = ["--samplers", "ddim,deis:2,unipc:2,rk45", "--timesteps", "4,8", "--seeds", "0,1"]
    run(exp, "--sweep", *words, "--n_samples", "200")
    print("sweep", of_csv(exp / "sweeps/run/report.csv"), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
