"""`make demo`: train on the bundled digits with L_skip, sample, measure, and look at the result.

Runs the commands it prints, through the same entry point as the shell, then makes a table and
pictures of what they left behind.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from main import main  # noqa: E402

EXP = Path("exp")
DOC = "digits_demo"
STEPS = (2, 5, 10, 20, 50, 100)
SHOWN = 50  # steps of the samples in the picture
SIDE = 10  # images in a row of the picture
INPUTS = EXP / "demo/inputs"  # held-out digits, which the last two of the gallery begin with
GALLERY = {
    "sequence": ["--sequence", "--n_samples", "3"],
    "grid": ["--grid", "4x12"],
    "nearest": ["--nearest", "--n_samples", "4"],
    "interpolation": ["--interpolation", "--seeds", "1,2,3,4", "--points", "6"],
    "inpaint": ["--inpaint", "--image", str(INPUTS), "--mask", "half", "--eta", "1"],
    "img2img": ["--img2img", "--image", str(INPUTS), "--strength", "0.5"],
}


def run(*words: str) -> None:
    """One command, as a user would type it; its failure ends the demo with its exit code."""
    print(f"\n$ python main.py {' '.join(words)}", flush=True)
    code = main(list(words))
    if code:
        sys.exit(code)


def train() -> None:
    resume = ["--resume_training"] if (EXP / "logs" / DOC).exists() else []
    run("--config", "digits.yml", "--doc", DOC, "--ni", *resume)


def folder_of(steps: int) -> Path:
    return Path(DOC) / f"steps_{steps}"


def sample(steps: int) -> dict:
    words = ["--timesteps", str(steps), "--eta", "0", "-i", str(folder_of(steps)), "--ni"]
    run("--config", "digits.yml", "--doc", DOC, "--sample", "--fid", *words)
    path = EXP / "image_samples" / folder_of(steps) / "eval.json"
    return json.loads(path.read_text(encoding="utf-8"))


def table(records: dict[int, dict]) -> str:
    """Markdown: one row per step count, the yardstick last."""
    names = [name for name in next(iter(records.values()))["figures"] if not name.endswith("_std")]
    names = [name for name in names if not name.startswith("IS")]
    lines = [
        "| DDIM steps | " + " | ".join(names) + " | images/s |",
        "|---" * (len(names) + 2) + "|",
    ]
    for steps, record in records.items():
        figures = [f"{record['figures'][name]:.3f}" for name in names]
        speed = record["took"]["images_per_second"]  # null where the images were there already
        figures.append(f"{speed:.0f}" if speed else "-")
        lines.append(f"| {steps} | {' | '.join(figures)} |")
    last = next(iter(records.values()))["reference"]
    half = last["images"] // 2
    lines.append(
        f"\nYardstick: two random halves of the real images ({half} each) are "
        f"{last['real_halves_distance']:.3f} apart."
    )
    return "\n".join(lines)


def picture(path: Path) -> None:
    """Real and sampled digits side by side."""
    from configs.schema import load
    from datasets import get_dataset
    from runners.record.image_files import save
    from runners.record.image_folder import read_back
    from runners.sheets import sheet

    dataset, _ = get_dataset(load("digits.yml"))
    indices = range(SIDE * SIDE)
    real = dataset.images(indices)
    sampled = read_back(EXP / "image_samples" / folder_of(SHOWN), indices, dataset.shape)
    sheets = {"real digits": real, f"sampled, {SHOWN} DDIM steps": sampled}
    shown = [
        sheet.sheet(images.unflatten(0, (SIDE, SIDE)).unbind(), title=title, least=32)
        for title, images in sheets.items()
    ]
    save(sheet.beside(shown), path)


def gallery() -> list[Path]:
    """A picture of every mode, and where they are."""
    from configs.schema import load
    from datasets import get_dataset
    from runners.record.image_files import save, to_picture

    _, held_out = get_dataset(load("digits.yml"))
    assert held_out is not None
    for index, image in enumerate(held_out.images(range(4))):
        save(to_picture(image), INPUTS / f"{index}.png")
    for words in GALLERY.values():
        run("--doc", DOC, "--sample", *words, "--ni")
    return [EXP / "image_samples" / DOC / mode / f"{mode}.png" for mode in GALLERY]


if __name__ == "__main__":
    began = time.monotonic()
    train()
    records = {steps: sample(steps) for steps in STEPS}
    results = EXP / "demo"
    picture(results / "digits.png")
    text = table(records)
    (results / "table.md").write_text(text + "\n", encoding="utf-8")
    pictures = [results / "digits.png", *gallery()]
    print(f"\n{text}\n\ntable: {results / 'table.md'}   pictures:", *pictures, sep="\n")
    print(f"{time.monotonic() - began:.0f} s without the installation")
