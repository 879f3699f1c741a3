"""Law 1: a recipe has one meaning. Streamed to a folder or into live parameters: the same bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from evomerge.checkpoints.loading import build_model
from evomerge.engine import Models, Plan, Resident, make_plan, merge
from evomerge.errors import CheckpointError
from evomerge.recipe import Recipe, parse_recipe

MakeFamily = Callable[..., Path]
KINDS = ["llama", "mistral", "qwen2", "gpt2", "opt"]
"""Architectures whose files name tensors as the live model does."""

METHODS: dict[str, dict[str, Any]] = {
    "linear": {"weight": [0.3, 0.9]},
    "slerp": {"t": 0.3},
    "task_arithmetic": {"weight": 0.7, "lambda": 1.3},
    "ties": {"weight": 0.5, "density": 0.4, "rescale": True},
    "dare_linear": {"weight": 0.6, "density": 0.5},
    "dare_ties": {"weight": [0.2, 0.9], "density": [0.3, 1.0]},
}


def recipe_for(method: str, folders: list[Path], **document: Any) -> Recipe:
    parameters = METHODS[method]
    names = [str(folder) for folder in folders]
    base = {} if method == "linear" else {"base_model": names[0]}
    models = names[1:2] if method == "slerp" else names[1:]
    return parse_recipe(
        {
            "merge_method": method,
            **base,
            "models": [{"model": name} for name in models],
            "parameters": parameters,
            **document,
        }
    )[0]


def streamed(recipe: Recipe, folder: Path, **options: Any) -> dict[str, torch.Tensor]:
    merged = merge(recipe, folder, replace=True, **options)
    return {
        name: tensor
        for file in sorted(merged.glob("*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def live(recipe: Recipe, *, seed: int = 0, dtype: str | None = None) -> tuple[Any, Plan]:
    models = Models()
    plan = make_plan(recipe, models, seed=seed)
    module = build_model(plan.config, dtype or plan.dtype)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.fill_(float("nan"))  # whatever is forgotten shows
    Resident(module, models).write(plan)
    return module, plan


def assert_same_bits(module: Any, tensors: dict[str, torch.Tensor]) -> None:
    state = module.state_dict()
    for name, tensor in tensors.items():
        assert torch.equal(_bits(state[name].to(tensor.dtype)), _bits(tensor)), name
    written = {state[name].data_ptr() for name in tensors}
    assert all(parameter.data_ptr() in written for parameter in module.parameters())


def _bits(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous().view(-1).view(torch.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("method", METHODS)
def test_stream_and_resident_agree_to_the_bit_for_every_method_and_architecture(
    tiny_model: MakeFamily, tmp_path: Path, kind: str, method: str
) -> None:
    recipe = recipe_for(method, [tiny_model(kind, seed) for seed in range(3)])
    module, _ = live(recipe, seed=5)
    assert_same_bits(module, streamed(recipe, tmp_path / "out", seed=5, shard_bytes=5000))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize("out", [None, "bfloat16", "float16", "float32"])
@pytest.mark.parametrize("tied", [True, False])
def test_they_agree_for_every_dtype_tied_and_untied(
    tiny_model: MakeFamily, tmp_path: Path, dtype: str, out: str | None, tied: bool
) -> None:
    folders = [tiny_model("llama", s, dtype=dtype, tie_word_embeddings=tied) for s in range(3)]
    recipe = recipe_for("dare_ties", folders, **({"dtype": out} if out else {}))
    tensors = streamed(recipe, tmp_path / "out")
    assert {str(tensor.dtype) for tensor in tensors.values()} == {f"torch.{out or dtype}"}
    assert ("lm_head.weight" in tensors) is not tied
    assert_same_bits(live(recipe)[0], tensors)


gradients = st.lists(st.floats(0.1, 1.5), min_size=1, max_size=4).map(
    lambda values: values if len(values) > 1 else values[0]
)


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    method=st.sampled_from(["linear", "task_arithmetic", "ties", "dare_linear", "dare_ties"]),
    attention=gradients,
    rest=gradients,
    seed=st.integers(0, 2**32),
    shard_bytes=st.integers(1, 100_000),
)
def test_they_agree_for_any_gradients_filters_seeds_and_shards(
    tiny_model: MakeFamily,
    tmp_path: Path,
    method: str,
    attention: Any,
    rest: Any,
    seed: int,
    shard_bytes: int,
) -> None:
    weight = [{"filter": "self_attn", "value": attention}, {"value": rest}]
    recipe = recipe_for(
        method, [tiny_model("llama", s) for s in range(3)], parameters={"weight": weight}
    )
    module, _ = live(recipe, seed=seed)
    assert_same_bits(module, streamed(recipe, tmp_path / "out", seed=seed, shard_bytes=shard_bytes))


def stack_of(folders: list[Path], *ranges: tuple[int, int]) -> Recipe:
    slices = [
        {"sources": [{"model": str(folders[i % len(folders)]), "layer_range": list(layers)}]}
        for i, layers in enumerate(ranges)
    ]
    return parse_recipe({"merge_method": "passthrough", "slices": slices})[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_stack_of_other_depth_agrees_and_is_made_of_the_sources_own_bytes(
    tiny_model: MakeFamily, tmp_path: Path, kind: str
) -> None:
    from evomerge.checkpoints.architecture import read_layout
    from evomerge.checkpoints.reader import Checkpoint

    folders = [tiny_model(kind, 0), tiny_model(kind, 1)]
    recipe = stack_of(folders, (0, 2), (1, 3), (2, 3))
    module, plan = live(recipe)
    tensors = streamed(recipe, tmp_path / "out")
    assert_same_bits(module, tensors)
    sources = [Checkpoint(str(folder)) for folder in folders]
    layout = read_layout(sources[0].config, sources[0].entries)
    assert plan.config[(layout.layer_key or ("",))[-1]] == 5
    expected = [(0, 0), (0, 1), (1, 1), (1, 2), (0, 2)]  # (model, layer) of layers 0 to 4
    for layer, (model, origin) in enumerate(expected):
        for part in layout.parts:
            entry = sources[model].entries[layout.name(origin, part)]
            raw = bytearray(entry.end - entry.start)
            sources[model].read_into(entry, 0, memoryview(raw))
            assert _bits(tensors[layout.name(layer, part)]).numpy().tobytes() == raw


def test_slices_of_two_models_agree_and_the_bases_own_layer_range_counts(
    tiny_model: MakeFamily, tmp_path: Path
) -> None:
    base, other = (str(tiny_model("llama", seed, dtype="float32")) for seed in range(2))
    document = {
        "merge_method": "task_arithmetic",
        "base_model": base,
        "slices": [
            {
                "sources": [
                    {"model": base, "layer_range": [0, 1]},
                    {"model": other, "layer_range": [2, 3]},
                ]
            }
        ],
        "parameters": {"weight": 0.0},
    }
    recipe, _ = parse_recipe(document)
    tensors = streamed(recipe, tmp_path / "out")
    assert_same_bits(live(recipe)[0], tensors)
    originals: dict[str, torch.Tensor] = {}
    for file in Path(base).glob("*.safetensors"):
        originals |= load_file(file)
    for name, tensor in tensors.items():  # weight 0 gives the base: its layer 0, not its layer 2
        assert torch.equal(tensor, originals[name]), name


@pytest.mark.parametrize("method", ["linear", "slerp", "ties", "dare_ties"])
def test_threads_and_copies_elsewhere_change_no_bit(
    tiny_model: MakeFamily, tmp_path: Path, method: str
) -> None:
    import shutil

    folders = [tiny_model("llama", seed, hidden_size=96, vocab_size=1400) for seed in range(3)]
    copies = [
        Path(shutil.copytree(folder, tmp_path / f"copy{i}")) for i, folder in enumerate(folders)
    ]
    before = torch.get_num_threads()
    found = []
    try:
        for threads, place in ((1, folders), (2, folders), (1, copies)):
            torch.set_num_threads(threads)
            found.append(streamed(recipe_for(method, place), tmp_path / "out", seed=3))
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert found[0].keys() == other.keys()
        for name, tensor in found[0].items():
            assert torch.equal(_bits(tensor), _bits(other[name])), name


# ----------------------------------------------------------------------------- resident alone


def test_a_float32_model_holds_the_rounded_values_of_a_bfloat16_merge_exactly(
    tiny_model: MakeFamily, tmp_path: Path
) -> None:
    recipe = recipe_for("ties", [tiny_model("llama", seed) for seed in range(3)])
    module, plan = live(recipe, dtype="float32")
    assert plan.dtype == "bfloat16"
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}
    for name, tensor in streamed(recipe, tmp_path / "out").items():
        assert torch.equal(module.state_dict()[name], tensor.float()), name


def test_another_recipe_afterwards_leaves_no_trace_of_the_first(tiny_model: MakeFamily) -> None:
    folders = [tiny_model("llama", seed) for seed in range(3)]
    first, second = recipe_for("dare_ties", folders), recipe_for("ties", folders)
    models = Models()
    module = build_model(make_plan(first, models).config, "bfloat16")
    resident = Resident(module, models)
    for recipe in (first, second):
        resident.write(make_plan(recipe, models))
    fresh, _ = live(second)
    for name, tensor in fresh.state_dict().items():
        assert torch.equal(_bits(module.state_dict()[name]), _bits(tensor)), name


def test_a_plan_that_forgets_a_parameter_is_refused_and_nothing_is_written(
    tiny_model: MakeFamily,
) -> None:
    from dataclasses import replace

    models = Models()
    recipe = recipe_for("linear", [tiny_model("llama", seed) for seed in range(3)])
    plan = make_plan(recipe, models)
    module = build_model(plan.config, "bfloat16")
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    resident = Resident(module, models)
    forgetful = replace(plan, tensors=plan.tensors[:-1])
    with pytest.raises(CheckpointError, match="no tensor for 1 parameters of the live model, such"):
        resident.write(forgetful)
    for name, tensor in before.items():
        assert torch.equal(_bits(tensor), _bits(module.state_dict()[name]))
    resident.write(plan)
    with pytest.raises(CheckpointError, match="no tensor for 1 parameters of the live model, such"):
        resident.write(forgetful)


def test_a_live_model_of_another_shape_is_refused_naming_both_shapes(
    tiny_model: MakeFamily,
) -> None:
    models = Models()
    recipe = recipe_for("linear", [tiny_model("llama", seed) for seed in range(3)])
    plan = make_plan(recipe, models)
    module = build_model({**plan.config, "vocab_size": 41}, "bfloat16")
    with pytest.raises(CheckpointError, match=r"is \[40, 16\] in the files, \[41, 16\] live"):
        Resident(module, models).write(plan)


def test_an_architecture_whose_files_use_other_names_is_written_by_its_own(
    tiny_model: MakeFamily, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    recipe = recipe_for("linear", [tiny_model("gpt_neox", seed) for seed in range(3)])
    module, plan = live(recipe)
    assert {t.name for t in plan.tensors} - set(module.state_dict()) == {"embed_out.weight"}
    loaded = AutoModelForCausalLM.from_pretrained(merge(recipe, tmp_path / "out"))
    assert_same_bits(module, loaded.state_dict())


def test_an_architecture_whose_files_hold_other_tensors_is_one_clear_line(
    tiny_model: MakeFamily, tmp_path: Path
) -> None:
    from transformers import AutoModelForCausalLM

    recipe = recipe_for("linear", [tiny_model("mixtral", seed) for seed in range(3)])
    with pytest.raises(
        CheckpointError, match="not supported in memory; `evomerge merge` writes"
    ) as e:
        live(recipe)
    assert "\n" not in str(e.value)
    AutoModelForCausalLM.from_pretrained(merge(recipe, tmp_path / "out"))
