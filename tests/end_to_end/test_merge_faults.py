"""Bad input and bad luck for `evomerge merge`, as a user meets them: real files, real processes.

Every fault ends in one clear message and an exit code; what was there before is all that is left.
"""

import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from evomerge.checkpoints.locate import locate
from evomerge.checkpoints.reader import INDEX, SINGLE, Checkpoint
from evomerge.engine import merge
from evomerge.errors import CheckpointError
from evomerge.recipe import write_yaml

ROOT = os.geteuid() == 0
NAME = "model.layers.1.mlp.up_proj"
KILLS = 8
PATIENCE = 60.0
"""Seconds after which a merge counts as hanging."""

WARM_PROCESS = """
import json, os, resource, signal, sys
import torch
from evomerge.cli.main import main
from evomerge.engine import merge
torch.set_num_threads(1)
merge("linear", sys.argv[1])  # everything is imported and warm before the first fork
print("warm", flush=True)
for line in sys.stdin:
    asked = json.loads(line)
    if (child := os.fork()) == 0:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        for stream, file in enumerate((os.devnull, asked["out"], asked["err"])):
            os.dup2(os.open(file, os.O_RDWR | os.O_CREAT), stream)
        if asked["files"]:
            resource.setrlimit(resource.RLIMIT_NOFILE, (asked["files"],) * 2)
        sys.argv = ["evomerge", "merge", *asked["arguments"]]
        main()
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """How a merge ended."""

    process: int
    code: int
    error: str
    seconds: float


Merge = Callable[..., Ended]
Damage = Callable[[Path], Any]


@pytest.fixture(scope="module")
def warm_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator["subprocess.Popen[str]"]:
    """A process from which merges fork: each is real, none has to import torch again."""
    with subprocess.Popen(
        [sys.executable, "-c", WARM_PROCESS, str(tmp_path_factory.mktemp("warm") / "out")],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "COLUMNS": "200"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "warm\n"
        yield process


@pytest.fixture
def evomerge_merge(warm_process: "subprocess.Popen[str]", tmp_path: Path) -> Merge:
    """Return merge(recipe, out, *flags, kill=(signal, seconds), files=…) -> how it ended."""

    def run(
        recipe: dict[str, Any],
        out: Path,
        *flags: str,
        kill: tuple[signal.Signals, float] | None = None,
        files: int | None = None,
    ) -> Ended:
        assert warm_process.stdin is not None
        assert warm_process.stdout is not None
        file, err = tmp_path / "recipe.yml", tmp_path / "stderr"
        file.write_text(write_yaml(recipe))
        err.unlink(missing_ok=True)
        asked = {"arguments": [str(file), str(out), "--quiet", *flags], "files": files}
        print(
            json.dumps({**asked, "out": os.devnull, "err": str(err)}),
            file=warm_process.stdin,
            flush=True,
        )
        child = int(warm_process.stdout.readline())
        began = time.monotonic()
        if kill:
            time.sleep(kill[1])
            began = time.monotonic()
            with suppress(ProcessLookupError):  # it was done already
                os.kill(child, kill[0])
        code = int(warm_process.stdout.readline())
        seconds = time.monotonic() - began
        assert seconds < PATIENCE
        text = err.read_text()
        assert "Traceback" not in text, text
        return Ended(child, code, text.rpartition("error: ")[2].strip(), seconds)

    return run


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A model that may be damaged."""
    return Path(shutil.copytree(locate("zoo:sort"), tmp_path / "parents" / "sort"))


def linear(*models: Path | str, **more: Any) -> dict[str, Any]:
    entries = [{"model": str(model), "parameters": {"weight": 0.5}} for model in models]
    return {"merge_method": "linear", "models": entries, **more}


def untouched(place: Path) -> bool:
    """Tell whether a merge into place/new/deep/out has left nothing, not even parents."""
    return os.listdir(place) == []


def rewrite_header(model: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    raw = (model / SINGLE).read_bytes()
    (length,) = struct.unpack("<Q", raw[:8])
    header = json.loads(raw[8 : 8 + length])
    change(header)
    text = json.dumps(header).encode()
    (model / SINGLE).write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def replace(name: str, make: Callable[[Path], Any]) -> Damage:
    def damage(model: Path) -> None:
        (model / name).unlink(missing_ok=True)
        make(model / name)

    return damage


def write_index(shard: str) -> Damage:
    return replace(INDEX, lambda f: f.write_text(json.dumps({"weight_map": {"a": shard}})))


def put_nan(model: Path) -> None:
    tensors = load_file(model / SINGLE)
    tensors[f"{NAME}.weight"][0, :3] = torch.nan
    save_file(tensors, model / SINGLE, {"format": "pt"})


FAULTS: dict[str, tuple[Damage, str]] = {
    "config is a pipe": (replace("config.json", os.mkfifo), "config.json is damaged: it is no fi"),
    "config never ends": (
        replace("config.json", lambda f: f.symlink_to("/dev/zero")),
        "config.json is a link out of its folder, to /dev/zero. Put the file itself there",
    ),
    "index is a pipe": (replace(INDEX, os.mkfifo), "index.json is damaged: it is no file"),
    "index names what no file is called": (write_index("\ud800"), "its weight_map leaves the fol"),
    "index names what no disk can hold": (write_index("a" * 999), "its weight_map leaves the fol"),
    "tokenizer lies elsewhere": (
        replace("tokenizer_config.json", lambda f: f.symlink_to("/etc/passwd")),
        "tokenizer_config.json is a link out of its folder, to /etc/passwd",
    ),
    "shape of 2^80 elements": (
        lambda m: rewrite_header(m, lambda h: h[f"{NAME}.weight"].update(shape=[1 << 40] * 2)),
        "has 86016 bytes",
    ),
    "NaN": (put_nan, f"sort has 3 NaN or infinite values in tensor {NAME}.weight. Fetch the model"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_parent_is_one_line_and_leaves_nothing(
    evomerge_merge: Merge, parent: Path, tmp_path: Path, fault: str
) -> None:
    damage, message = FAULTS[fault]
    damage(parent)
    place = tmp_path / "place"
    place.mkdir()
    ended = evomerge_merge(linear(parent, locate("zoo:reverse")), place / "new" / "deep" / "out")
    assert ended.code == 1
    assert message in ended.error
    assert "\n" not in ended.error
    assert untouched(place)


@pytest.mark.parametrize("layers", [10**9, 10**30, -1, [4]])
def test_a_config_may_lie_about_its_layers(
    evomerge_merge: Merge, parent: Path, tmp_path: Path, layers: Any
) -> None:
    config = json.loads((parent / "config.json").read_text())
    nested = {"text_config": {"num_hidden_layers": layers}}
    (parent / "config.json").write_text(
        json.dumps({**config, "num_hidden_layers": layers, **nested})
    )
    ended = evomerge_merge(linear(locate("zoo:reverse"), parent), tmp_path / "out")
    assert (ended.code, ended.error) == (0, "")


@pytest.mark.parametrize("layer", ["²", "9" * 14])
def test_a_layer_that_is_no_number_of_a_layer_is_a_tensor_like_others(
    evomerge_merge: Merge, parent: Path, tmp_path: Path, layer: str
) -> None:
    name = f"model.layers.{layer}.extra.weight"

    def add(header: dict[str, Any]) -> None:
        end = max(entry["data_offsets"][1] for key, entry in header.items() if "__" not in key)
        header[name] = {"dtype": "BF16", "shape": [0], "data_offsets": [end, end]}

    rewrite_header(parent, add)
    ended = evomerge_merge(linear(locate("zoo:reverse"), parent), tmp_path / "one")
    assert ended.code == 2
    assert "sort has tensor model.layers." in ended.error
    both = Path(shutil.copytree(parent, tmp_path / "both"))
    assert evomerge_merge(linear(both, parent), tmp_path / "two").code == 0
    assert name in Checkpoint(str(tmp_path / "two")).entries


def test_every_mismatch_is_listed_at_once(
    evomerge_merge: Merge, parent: Path, tmp_path: Path
) -> None:
    tensors = load_file(parent / SINGLE)
    for layer in range(3):
        name = f"model.layers.{layer}.mlp.up_proj.weight"
        tensors[name] = tensors[name][:-2].contiguous()
    del tensors["model.layers.0.mlp.down_proj.weight"]
    save_file({**tensors, "stranger": torch.zeros(3)}, parent / SINGLE, {"format": "pt"})
    place = tmp_path / "place"
    place.mkdir()
    ended = evomerge_merge(linear(locate("zoo:reverse"), parent), place / "new" / "out")
    assert ended.code == 2
    assert "5 problems in this recipe" in ended.error
    assert (
        len(re.findall(r"up_proj\.weight is \[336, 128\] in .* but \[334, 128\]", ended.error)) == 3
    )
    assert "lacks tensor model.layers.0.mlp.down_proj.weight" in ended.error
    assert "has tensor stranger, which" in ended.error
    assert untouched(place)


@pytest.mark.parametrize(
    ("alpha", "poison", "message"),
    [
        ("1" + "0" * 400, False, "adapter_config.json says lora_alpha: 1000"),
        ("NaN", False, "adapter_config.json says lora_alpha: nan, which is no number"),
        ("8", True, f"2 NaN or infinite values in tensor base_model.model.{NAME}.lora_B.weight"),
    ],
)
def test_a_faulty_adapter_is_named(
    evomerge_merge: Merge, parent: Path, tmp_path: Path, alpha: str, poison: bool, message: str
) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    factors = {"A": torch.ones(4, 128), "B": torch.ones(336, 4)}
    factors["B"][0, :2] = torch.inf if poison else 1.0
    named = {f"base_model.model.{NAME}.lora_{role}.weight": t for role, t in factors.items()}
    save_file(named, adapter / "adapter_model.safetensors")
    (adapter / "adapter_config.json").write_text(
        f'{{"peft_type": "LORA", "r": 4, "lora_alpha": {alpha}}}'
    )
    recipe = linear(f"{parent}+{adapter}", locate("zoo:reverse"))
    nested = linear(locate("zoo:reverse"))
    nested["models"][0]["model"] = recipe
    for document in (recipe, nested)[: 1 + poison]:
        ended = evomerge_merge(document, tmp_path / "new" / "out")
        assert ended.code in (1, 2)
        assert message in ended.error
        assert not (tmp_path / "new").exists()
    if poison:
        assert evomerge_merge(recipe, tmp_path / "out", "--allow-nonfinite").code == 0


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"tokenizer": {"source": "union", "pad_to_multiple_of": 10**12}}, "less than or equal to"),
        ({"chat_template": "{% if"}, "chat_template is not valid Jinja"),
    ],
)
def test_a_recipe_that_asks_too_much_is_refused(
    evomerge_merge: Merge, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    ended = evomerge_merge(
        linear(*map(locate, ("zoo:sort", "zoo:reverse")), **more), tmp_path / "o"
    )
    assert ended.code == 2
    assert message in ended.error


def test_a_template_is_not_worked_out_to_check_it(evomerge_merge: Merge, tmp_path: Path) -> None:
    recipe = linear("zoo:sort", chat_template="{{ 'a' * 10**10 }}{{ 9**9**9 }}")
    ended = evomerge_merge(recipe, tmp_path / "out")
    assert (ended.code, ended.error) == (0, "")


def test_more_shards_than_files_may_be_open_says_what_to_do(
    evomerge_merge: Merge, tmp_path: Path
) -> None:
    ended = evomerge_merge(linear("zoo:sort"), tmp_path / "out", "--out-shard-size=1", files=25)
    assert ended.code == 1
    assert ended.error.endswith("cannot be written: Too many open files. Ask for larger shards")


def test_a_soft_limit_of_open_files_is_raised(evomerge_merge: Merge, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    assert hard > 200
    ended = evomerge_merge(linear("zoo:sort"), tmp_path / "out", "--out-shard-size=1", files=None)
    assert ended.code == 0
    assert len(list((tmp_path / "out").glob("model-*.safetensors"))) == 38
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


@pytest.mark.skipif(not ROOT or not shutil.which("mount"), reason="only root may mount a disk")
def test_a_mount_point_is_refused_before_any_work(evomerge_merge: Merge, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)], check=True)
    try:
        ended = evomerge_merge(linear("zoo:nothing"), disk)
        assert ended.code == 1
        assert ended.error.endswith("no folder can take its place. Choose a folder in it")
        assert evomerge_merge(linear("zoo:sort"), disk / "out").code == 0
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        ended = evomerge_merge(linear("zoo:sort"), disk / "new" / "out")
        assert ended.error.endswith(
            "cannot be written: Read-only file system. Choose another place"
        )
        assert os.listdir(disk) == ["out"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


class Meddler:
    """Does something to a parent between planning and the first tensor."""

    def __init__(self, meddle: Callable[[], Any]) -> None:
        self.begin = lambda _label, _total: meddle()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Nothing."""

    def end(self) -> None:
        """Nothing."""


def overwrite(weights: Path) -> None:
    with weights.open("r+b") as stream:
        stream.seek(-2000, os.SEEK_END)
        stream.write(b"\x12" * 1000)


def swap(weights: Path) -> None:
    other = weights.with_name("other")
    shutil.copy(locate("zoo:reverse") / SINGLE, other)
    os.replace(other, weights)


@pytest.mark.parametrize("meddle", [overwrite, swap])
def test_a_parent_that_changes_while_it_is_merged_is_noticed(
    parent: Path, tmp_path: Path, meddle: Damage
) -> None:
    with pytest.raises(CheckpointError, match=r"model\.safetensors has changed while it was read"):
        merge(
            linear(parent), tmp_path / "new" / "out",
            progress=Meddler(lambda: meddle(parent / SINGLE)),
        )  # fmt: skip
    assert os.listdir(tmp_path) == ["parents"]


@pytest.fixture(scope="module")
def large_parents(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Models whose merge takes long enough to be interrupted anywhere."""
    random, folders = torch.Generator().manual_seed(0), []
    for name in "ab":
        folder = tmp_path_factory.mktemp(name)
        tensors = {
            f"model.layers.{layer}.mlp.up_proj.weight": torch.randn(
                1024, 1024, generator=random
            ).bfloat16()
            for layer in range(16)
        }
        save_file(tensors, folder / SINGLE, {"format": "pt"})
        config = {"model_type": "llama", "num_hidden_layers": 16}
        (folder / "config.json").write_text(json.dumps(config))
        folders.append(folder)
    return folders


def test_a_merge_stopped_anywhere_ends_soon_and_leaves_all_or_nothing(
    evomerge_merge: Merge, large_parents: list[Path], tmp_path: Path
) -> None:
    recipe = linear(*large_parents)
    recipe |= {"merge_method": "dare_linear", "base_model": str(large_parents[0])}
    recipe["parameters"] = {"density": 0.5}
    place = tmp_path / "place"
    whole = evomerge_merge(recipe, place / "whole", "-j4", "--out-shard-size=4M")
    assert whole.code == 0
    expected = contents(place / "whole")
    ways = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL, signal.SIGINT)
    codes = []
    for number in range(KILLS):
        way, delay = ways[number % 4], 1.1 * whole.seconds * number / KILLS
        threads = "-j4" if number % 3 else "-j1"
        target = place / "new" / "out"
        ended = evomerge_merge(recipe, target, threads, "--out-shard-size=4M", kill=(way, delay))
        codes.append(ended.code)
        assert ended.code in (0, 130, -way)
        assert ended.seconds < max(5.0, 3 * whole.seconds)
        if target.exists():
            assert contents(target) == expected
            shutil.rmtree(target)
        elif ended.code == 130:
            assert ended.error == "interrupted"
            assert not list(place.rglob(f".out.partial-{ended.process}"))
    assert {130, -signal.SIGKILL} <= set(codes)
    assert evomerge_merge(recipe, place / "new" / "out", "-j4", "--out-shard-size=4M").code == 0
    assert os.listdir(place / "new") == ["out"], "the next run clears up"
    assert contents(place / "new" / "out") == expected


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}
