"""Rates on a CUDA device: training steps and sampling, as images/s and as a share of the peak."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import clock
from benchmarks.networks import CIFAR10, NO_PEER, SMALL, Setting, batch, disagreement, same_weights
from benchmarks.networks import training_task as train
from functions.denoiser import Denoiser
from functions.grids import GRIDS
from functions.plan import solve
from functions.process import VP
from functions.samplers import SAMPLERS

# Dense bf16 TFLOP/s with float32 accumulation, from the vendor's data sheets. First match counts.
PEAKS = {
    "B200": 2250,
    "H100 PCIe": 756,
    "H100 NVL": 835,
    "GH200": 989,
    "H200": 989,
    "H100": 989,
    "H800": 989,
    "A100": 312,
    "A800": 312,
    "L40S": 362,
    "L40": 181,
    "L4": 121,
    "A10G": 70,
    "A10": 125,
    "A40": 150,
    "A6000": 155,
    "RTX 5090": 210,
    "RTX 4090": 165,
    "RTX 3090": 71,
}
PRECISIONS = ("bf16", "tf32", "fp32")
STEPS = 50


def measure(device: torch.device, quick: bool, deadline: float) -> list[dict]:
    """The training and the sampling table. What does not fit before `deadline` (by the clock of
    time.perf_counter) is listed as left out, least interesting last.
    """
    torch.backends.cudnn.benchmark = True
    options = SMALL if quick else CIFAR10
    flops, peak = training_flops(options, device), peak_of(torch.cuda.get_device_name(device))
    notes = [f"{flops / 1e9:.1f} GFLOP per image and training step, counted by torch"]
    notes += [f"peak: {peak} TFLOP/s, dense bf16"] if peak else ["peak of this chip not listed"]
    ours, peer = same_weights(options)
    if peer is None:
        notes.append(NO_PEER)
    else:
        x, t, _ = batch(options, 16, device)
        _precision(Setting("fp32"))
        gap = disagreement(ours.to(device), peer.to(device), x, t)
        notes.append(f"equal weights, answers within {gap:.1e} of each other (largest answer 1)")
    del ours, peer
    tables: dict[str, list[dict]] = {"Training step": [], "Sampling, DDIM 50 steps": []}
    for title, name, job in _jobs(options, device, quick):
        if time.perf_counter() > deadline:
            notes.append(f"left out for lack of time: {title.lower()}, {name}")
            continue
        for row in job():
            if title == "Training step":
                row["tflops"] = row["images_per_s"] * flops / 1e12
                row |= {"of_peak": row["tflops"] / peak} if peak else {}
            tables[title].append(row)
        _release()
    return [
        {"title": title, "rows": rows, "notes": notes if title == "Training step" else []}
        for title, rows in tables.items()
        if rows
    ]


def _jobs(
    options: dict, device: torch.device, quick: bool
) -> Iterator[tuple[str, str, Callable[[], list[dict]]]]:
    """(table, name, measurement), the most interesting first: compiling takes most of the time."""
    size, large, many = (4, 8, 4) if quick else (128, 512, 256)
    eager = [Setting(p, last) for p in PRECISIONS for last in (True, False)]
    compiled = [Setting(s.precision, s.channels_last, compile=True) for s in eager]

    def training(setting: Setting, n: int) -> tuple[str, str, Callable[[], list[dict]]]:
        name = f"{setting}, batch {n}"
        return "Training step", name, lambda: _training(options, device, setting, n, name)

    def sampling(setting: Setting) -> tuple[str, str, Callable[[], list[dict]]]:
        name = f"{setting}, batch {many}"
        job = lambda: _sampling(options, device, setting, many, name)  # noqa: E731
        return "Sampling, DDIM 50 steps", name, job

    yield from (training(setting, size) for setting in eager)
    yield from (training(setting, large) for setting in eager[:3])
    yield sampling(eager[0])
    yield training(compiled[0], size)
    yield sampling(compiled[0])
    yield training(compiled[0], large)
    yield from (training(setting, size) for setting in compiled[1:])


def _training(
    options: dict, device: torch.device, setting: Setting, n: int, name: str
) -> list[dict]:
    _precision(setting)
    steps = 5
    x, t, noise = batch(options, n, device)
    tasks, memory = {}, {}
    for who, net in _both(options).items():
        task = train(setting.prepare(net, device), setting, x, t, noise, steps)
        torch.cuda.reset_peak_memory_stats(device)
        task()  # compiles and picks algorithms, so that the peak below is that of a step
        memory[f"{who} {name}"] = torch.cuda.max_memory_allocated(device) / 2**30
        tasks[f"{who} {name}"] = task
    rows = clock.compared(
        clock.interleave(tasks, 4, device), {f"ours {name}": [f"diffusers {name}"]}, per=steps
    )
    return [
        row | {"images_per_s": n / row["seconds"], "memory_gib": memory[row["what"]]}
        for row in rows
    ]


def _sampling(
    options: dict, device: torch.device, setting: Setting, n: int, name: str
) -> list[dict]:
    _precision(setting)
    x = setting.layout(batch(options, n, device)[0])
    walks = {"ours": _our_walk, "diffusers": _their_walk}
    tasks = {
        f"{who} {name}": walks[who](setting.prepare(net, device).eval(), setting, x)
        for who, net in _both(options).items()
    }
    rows = clock.compared(
        clock.interleave(tasks, 3, device), {f"ours {name}": [f"diffusers {name}"]}
    )
    return [row | {"images_per_s": n / row["seconds"]} for row in rows]


def _our_walk(net: nn.Module, setting: Setting, x: Tensor) -> Callable[[], None]:
    vp = VP()
    denoiser = Denoiser(net, vp)
    plan = SAMPLERS["ddim"](vp, GRIDS["uniform"](vp, STEPS))

    @torch.no_grad()
    def task() -> None:
        with setting.autocast(x.device):
            for _ in solve(plan, denoiser.eps, x):
                pass

    return task


def _their_walk(net: nn.Module, setting: Setting, x: Tensor) -> Callable[[], None]:
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(beta_schedule="linear", clip_sample=False)
    scheduler.set_timesteps(STEPS, device=x.device)

    @torch.no_grad()
    def task() -> None:
        state = x
        with setting.autocast(x.device):
            for t in scheduler.timesteps:
                answer = net(state, t).float()
                state = scheduler.step(answer, t, state, return_dict=False)[0]

    return task


def _both(options: dict) -> dict[str, nn.Module]:
    ours, peer = same_weights(options)
    return {"ours": ours} if peer is None else {"ours": ours, "diffusers": peer}


def _precision(setting: Setting) -> None:
    """float32 work in TF32 only where the setting says so; cuDNN's own default is to use it."""
    torch.backends.cuda.matmul.allow_tf32 = setting.precision == "tf32"
    torch.backends.cudnn.allow_tf32 = setting.precision == "tf32"


def _release() -> None:
    torch._dynamo.reset()
    gc.collect()
    torch.cuda.empty_cache()


def training_flops(options: dict, device: torch.device) -> float:
    """Floating point operations of one forward and backward pass per image."""
    n = 2
    network = same_weights(options)[0].to(device)
    x, t, noise = batch(options, n, device)
    counter = FlopCounterMode(display=False)
    with counter:
        (network(x, t) - noise).square().mean().backward()
    return counter.get_total_flops() / n


def peak_of(name: str) -> float | None:
    """Dense bf16 TFLOP/s of the chip called `name`, None where it is not listed."""
    return next((peak for chip, peak in PEAKS.items() if chip in name), None)
