"""`decoupe doctor`: what a person who helps needs to know of this machine, as one block to paste."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from decoupe import __version__

NEEDED = (
    "torch", "lightning-fabric", "numpy", "scipy", "pillow", "tifffile", "safetensors", "tyro", "rich", "jinja2",
)  # fmt: skip
OPTIONAL = (
    "pycocotools", "imagecodecs", "starlette", "uvicorn", "onnx", "onnxscript", "onnxruntime",
    "huggingface_hub",
)  # fmt: skip
WITHDRAWN = {"lightning-fabric": ("2.6.2", "2.6.3")}
"""Releases that were withdrawn for what they did to the machines that installed them."""
LITTLE = 5 * 1024**3
"""Bytes of free disk below which a cache and a run may not fit."""


def rows() -> Iterator[tuple[str, str]]:
    """(name, finding), one after the other as they are found; a row named `!` is something to mend."""
    yield "decoupe", __version__
    yield "python", f"{platform.python_version()} on {platform.system()} {platform.release()} {platform.machine()}"
    yield "cores", f"{len(os.sched_getaffinity(0))} of {os.cpu_count()} usable, {_memory()}"
    for name in NEEDED:
        yield name, version(name) or "missing"
    found = [f"{name} {known}" for name in OPTIONAL if (known := version(name))]
    yield "extras", ", ".join(found) or "none"
    yield from _torch()
    yield from _disk()
    yield from (("!", trap) for trap in traps(version, importlib.util.find_spec))


def version(package: str) -> str | None:
    """Installed version, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _memory() -> str:
    try:
        pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return "memory unknown"
    return f"{pages / 1024**3:.0f} GB of memory"


def _torch() -> Iterator[tuple[str, str]]:
    try:
        import torch
    except Exception as error:  # noqa: BLE001 a broken wheel raises anything: that is what is asked
        yield "!", f"torch does not import ({type(error).__name__}: {str(error)[:80]}); install it again"
        return
    yield (
        "threads",
        f"{torch.get_num_threads()} of torch, OMP_NUM_THREADS {os.environ.get('OMP_NUM_THREADS', 'not set')}",
    )
    if torch.cuda.is_available():
        memory = torch.cuda.get_device_properties(0).total_memory / 1024**3
        yield "gpu", f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()} with {memory:.0f} GB"
    else:
        built = "built for CUDA" if torch.version.cuda else "a CPU build of torch"
        yield "gpu", f"none that torch can use ({built})"
    full, half = step_seconds("float32"), step_seconds("bfloat16")
    word = "faster" if half < full else "slower: train with --precision fp32"
    yield "bf16", f"{full / half:.1f} times the speed of fp32 in a convolution forth and back ({word})"


def step_seconds(kind: str, repeats: int = 3) -> float:
    """Seconds of the quickest of a few training steps of a small convolution, on the GPU if there is one."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    network = torch.nn.Conv2d(32, 32, 3, padding=1).to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = torch.rand(8, 32, 64, 64, device=device).to(memory_format=torch.channels_last)
    best = float("inf")
    for _ in range(repeats + 1):
        start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16, enabled=kind == "bfloat16"):
            network(images).square().mean().backward()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def _disk() -> Iterator[tuple[str, str]]:
    from decoupe.data.paths import default_cache_folder

    for name, folder in (("here", Path.cwd()), ("cache", default_cache_folder())):
        place = next(p for p in (folder, *folder.parents) if p.exists())
        free = shutil.disk_usage(place).free
        writable = "" if os.access(place, os.W_OK) else ", which may not be written"
        yield f"disk {name}", f"{free / 1024**3:.0f} GB free{writable}"
        if free < LITTLE:
            yield "!", f"little disk {name}: free some, or set DECOUPE_CACHE to another disk"


def traps(version: Callable[[str], str | None], found: Callable[[str], object]) -> list[str]:
    """Known troubles of what is installed; `version` and `found` look packages and modules up."""
    told = []
    torch, vision = version("torch"), version("torchvision")
    if torch and "+cpu" in torch and vision and "+cpu" not in vision:
        told.append(
            f"torchvision {vision} is built for CUDA, torch {torch} is not: what imports it fails; uninstall it"
        )
    if torch and tuple(int(part) for part in torch.split("+")[0].split(".")[:2]) < (2, 10):
        told.append(f"torch {torch} can be made to run code by a .pth file; use 2.10 or newer")
    for name, versions in WITHDRAWN.items():
        if version(name) in versions:
            told.append(f"{name} {version(name)} was withdrawn; install another release and look at your machine")
    if found("cv2") is not None and version("opencv-python") and version("opencv-python-headless"):
        told.append("opencv-python and opencv-python-headless overwrite each other; keep one")
    if version("lightning") and version("pytorch-lightning"):
        told.append("lightning and pytorch-lightning are the same program twice; decoupe needs lightning-fabric alone")
    return told
