"""`evomerge doctor`: what this machine has, and which of it is in use."""

import importlib.util
import platform
import shutil
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

NAME = "doctor"
EXAMPLE = "evomerge doctor"
LIBRARIES = ("torch", "transformers", "safetensors", "tokenizers", "numpy", "cmaes", "pydantic")
EXTRAS = ("lm_eval", "peft", "ray", "matplotlib", "wandb")


def command(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Say what this machine has: versions, kernels, arithmetic, devices, memory, disk, extras."""
    from evomerge.cli.output import print_json, print_table

    findings = dict(_find())
    if as_json:
        print_json(findings)
        return
    print_table("doctor", [{"what": what, "found": found} for what, found in findings.items()])


def _find() -> Iterator[tuple[str, str]]:
    from evomerge import __version__
    from evomerge.checkpoints.loading import find_arithmetic, find_device
    from evomerge.checkpoints.writer import show_bytes
    from evomerge.engine.threads import count_cores
    from evomerge.tensor_ops.native_library import describe

    yield "evomerge", f"{__version__}, Python {platform.python_version()}"
    yield "libraries", ", ".join(f"{name} {_version(name)}" for name in LIBRARIES)
    yield "machine", f"{platform.machine()}, {count_cores()} cores for this process"
    yield "merge kernels", describe()
    device = find_device()
    yield "device", device if device == "cpu" else f"{device} ({_device_name()})"
    yield "bfloat16 models run in", find_arithmetic("bfloat16", device)
    yield "memory", _memory()
    yield "disk", f"{show_bytes(shutil.disk_usage(Path.cwd()).free)} free in this folder"
    missing = [name for name in EXTRAS if importlib.util.find_spec(name) is None]
    yield "optional packages not installed", ", ".join(missing) or "none is missing"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _device_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "Apple GPU"


def _memory() -> str:
    from evomerge.checkpoints.writer import show_bytes

    file = Path("/proc/meminfo")
    if not file.exists():
        return "not known on this system"
    table = dict(line.split(":", 1) for line in file.read_text().splitlines())
    total, free = (int(table[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    return f"{show_bytes(free)} free of {show_bytes(total)}"
