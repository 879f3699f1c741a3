"""Make tests/golden/mergekit anew by running mergekit itself.

python tests/golden/regenerate.py    with an interpreter that has mergekit: benchmarks/opponent.sh

Every recipe of cases.yml is run by `mergekit-yaml` twice: on float32 models, whose result is kept,
and with `dtype: float64`, which must agree: a result that mergekit's own rounding decides (which
of two entries passes a threshold, say) is reported and left out. mergekit puts what a union adds
to the base's tokens in an order that differs from run to run; here it is sorted.
"""

import contextlib
import importlib.metadata
import io
import platform
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from mergekit.scripts.run_yaml import main as mergekit_yaml
from mergekit_inputs import VOCABULARIES, Array, digest, make_family, reorder_rows
from safetensors.numpy import load_file, save_file
from transformers import AutoTokenizer

HERE = Path(__file__).parent / "mergekit"
LIBRARIES = ("mergekit", "torch", "transformers", "tokenizers", "safetensors", "numpy")
AGREEMENT = 5e-6
"""Most difference of the float32 from the float64 result, in units of the tensor's rms."""


def run_mergekit(
    recipe: dict[str, Any], out: Path, dtype: str
) -> tuple[dict[str, Array], list[str]]:
    """Merge by mergekit-yaml; return the tensors and, in the order of their rows, the tokens."""
    document = {**recipe, "dtype": dtype, "out_dtype": dtype}
    file = out.with_suffix(".yml")
    file.write_text(yaml.safe_dump(document, sort_keys=False))
    tokens = "words/" in file.read_text()
    flags = ["--quiet", "--no-write-model-card", f"--{'' if tokens else 'no-'}copy-tokenizer"]
    with contextlib.redirect_stderr(io.StringIO()):
        mergekit_yaml.main([str(file), str(out), *flags], standalone_mode=False)
    tensors: dict[str, Array] = {}
    for weights in out.glob("*.safetensors"):
        tensors |= load_file(weights)
    found = read_tokens(out) if tokens else []
    if "source: union" not in file.read_text():
        return tensors, found
    base = len(VOCABULARIES["base"][0] + VOCABULARIES["base"][1])
    wanted = [*found[:base], *sorted(found[base:])]
    return reorder_rows(tensors, found, wanted), wanted


def deviation(tensors: dict[str, Array], exact: dict[str, Array]) -> tuple[float, str]:
    """Return the largest difference in units of a tensor's rms, and that tensor's name."""
    return max(
        (float(np.abs(tensors[n] - x).max() / max(np.sqrt(np.mean(x * x)), 1e-30)), n)
        for n, x in exact.items()
    )


def read_tokens(folder: Path) -> list[str]:
    """Return the tokens of a result in the order of their numbers."""
    vocabulary = AutoTokenizer.from_pretrained(str(folder)).get_vocab()
    return sorted(vocabulary, key=vocabulary.__getitem__)


def main() -> None:
    """Run all cases and write values.safetensors and provenance.yml."""
    cases = yaml.safe_load((HERE / "cases.yml").read_text())
    values: dict[str, Array] = {}
    kept: dict[str, Any] = {}
    layouts: list[dict[str, list[int]]] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        make_family(Path())
        for number, (name, recipe) in enumerate(cases.items()):
            tensors, tokens = run_mergekit(recipe, Path(f"out{number}"), "float32")
            exact, _ = run_mergekit(recipe, Path(f"exact{number}"), "float64")
            worst, where = deviation(tensors, exact)
            print(f"{name:<60}{worst:9.1e}  {where}", flush=True)
            if not worst <= AGREEMENT:
                print("    left out: float64 gives another result")
                continue
            layout = {tensor: list(x.shape) for tensor, x in sorted(tensors.items())}
            if layout not in layouts:
                layouts.append(layout)
            kept[name] = {"layout": layouts.index(layout), "tokens": tokens}
            samples, sums = zip(*digest(tensors).values(), strict=True)
            values[f"{name}/samples"] = np.concatenate(samples)
            values[f"{name}/sums"] = np.concatenate(sums).astype(np.float32)
    save_file(values, HERE / "values.safetensors")
    provenance = {
        "command": "python tests/golden/regenerate.py",
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "python": platform.python_version(),
        "layouts": layouts,
        "cases": kept,
    }
    text = yaml.safe_dump(provenance, sort_keys=False, default_flow_style=None, width=10_000)
    (HERE / "provenance.yml").write_text(text)


if __name__ == "__main__":
    main()
