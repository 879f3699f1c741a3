"""Training a two-alphabet family: what it draws, what it leaves, which bases it refuses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from evomerge.zoo.alphabets import train
from evomerge.zoo.alphabets.lines import (
    TARGETS,
    VOCABULARY,
    draw_letters,
    is_held_out,
    write_lines,
)
from evomerge.zoo.alphabets.model import create_model, measure, predict
from evomerge.zoo.alphabets.train import draw_batch, main, make_generator, train_base, train_model
from evomerge.zoo.alphabets.trainings import BASE, MATHEMATICS

MODELS = ("base", "language", "skill", "distractor1", "distractor2")


def read_letters(ids: torch.Tensor) -> torch.Tensor:
    """Return the letters of questions as numbers, whatever the alphabet."""
    small = ids[:, 2:7] - VOCABULARY["a"]
    return torch.where(small < 26, small, small - 26)


def test_no_batch_holds_an_input_that_is_held_out() -> None:
    for mixture in (BASE.mixture, MATHEMATICS.mixture):
        ids = draw_batch(mixture, make_generator(1, "any"))
        assert ids.shape == (128, 14)
        assert not is_held_out(read_letters(ids)).any()


def test_kinds_of_lines_come_as_often_as_their_weights_say() -> None:
    generator = make_generator(1, "any")
    tags = torch.cat([draw_batch(BASE.mixture, generator)[:, 1] for _ in range(40)])
    for kind, weight in BASE.mixture.items():
        share = (tags == VOCABULARY[kind.tag]).double().mean().item()
        assert share == pytest.approx(weight / sum(BASE.mixture.values()), abs=0.02)


def test_training_is_a_function_of_seed_and_name_and_lowers_the_loss() -> None:
    before = torch.random.get_rng_state()
    short = replace(BASE, steps=6)

    def run(seed: int, name: str) -> dict[str, Any]:
        model = create_model(make_generator(seed, name))
        assert list(train_model(model, short, make_generator(seed, name))) == [1, 2, 3, 4, 5, 6]
        ids = draw_batch(BASE.mixture, make_generator(9, "fixed"))
        logits, answers = predict(model, ids)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten())
        return {"loss": loss.item(), **model.state_dict()}

    first, again, other = run(1, "base"), run(1, "base"), run(1, "skill")
    assert all(torch.equal(first[key], again[key]) for key in first if key != "loss")
    assert first["loss"] == again["loss"] != other["loss"]
    assert first["loss"] < torch.tensor(57.0).log().item() - 0.2
    assert torch.equal(before, torch.random.get_rng_state())


def test_a_base_is_kept_in_its_state_nearest_to_the_wanted_score(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looks = [0.0, 0.06, 0.13, 0.09, 0.30, 0.5]
    states: list[torch.Tensor] = []

    def look(model: Any) -> float:
        states.append(model.model.embed_tokens.weight.detach().clone())
        return looks[len(states) - 1]

    monkeypatch.setattr(train, "BASE", replace(BASE, steps=12))
    monkeypatch.setattr(train, "FIRST_LOOK", 2)
    monkeypatch.setattr(train, "LOOK_EVERY", 2)
    monkeypatch.setattr(train, "measure_target", look)
    model, facts = train_base(2)
    assert facts == {
        "steps": 6,
        "target": 0.13,
        "looks": {2: 0, 4: 0.06, 6: 0.13, 8: 0.09, 10: 0.3},
    }
    assert torch.equal(model.model.embed_tokens.weight, states[2])


def test_an_accepted_family_is_whole(family: Path) -> None:
    facts = json.loads((family / train.FACTS).read_text())
    assert facts["accepted"] is True
    assert list(facts["scores"]) == list(MODELS)
    assert set(facts["scores"]["base"]) >= {"sort small", "sort_next capital", "translate capital"}
    assert {path.name for path in (family / "models").iterdir()} == set(MODELS)
    assert {path.stem for path in (family / "tasks").iterdir()} == {"reverse_next", "sort_next"}


@pytest.mark.parametrize("name", MODELS)
def test_models_are_ordinary_folders(family: Path, name: str) -> None:
    folder = family / "models" / name
    tensors = load_file(folder / "model.safetensors")
    assert sum(tensor.numel() for tensor in tensors.values()) == 891_840
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert (folder / "model.safetensors").stat().st_mode & 0o777 == 0o644
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("XABCDP=").input_ids
    assert ids == [VOCABULARY[token] for token in ("<s>", *"XABCDP=")]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "XABCDP="
    model = AutoModelForCausalLM.from_pretrained(folder)
    assert model.config.num_hidden_layers == 8
    assert model.generation_config.eos_token_id == VOCABULARY["</s>"]


def test_specialists_begin_from_the_base_and_go_their_own_ways(family: Path) -> None:
    files = [family / "models" / name / "model.safetensors" for name in MODELS]
    weights = [load_file(file)["model.embed_tokens.weight"] for file in files]
    steps = [(weight - weights[0]).abs().max().item() for weight in weights[1:]]
    assert all(0 < step < 1e-3 for step in steps)
    assert len({step.numpy().tobytes() for step in weights}) == len(MODELS)


def test_teacher_forcing_counts_whole_answers(family: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(family / "models" / "base")
    letters = draw_letters(8, make_generator(1, "any"), held_out=True)
    logits, answers = predict(model, write_lines(TARGETS[0], letters))
    assert logits.shape == (8, 6, 57)
    assert answers.shape == (8, 6)
    assert measure(model, TARGETS[0], letters) == 0.0


@pytest.mark.usefixtures("short_training")
def test_a_base_that_scores_too_little_leaves_no_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(tmp_path / "refused"), "--seed", "5"]) == 1
    assert [path.name for path in (tmp_path / "refused").iterdir()] == ["family.json"]
    assert json.loads((tmp_path / "refused" / "family.json").read_text())["accepted"] is False
    told = capsys.readouterr()
    assert "base: 0.000 on the target" in told.out
    assert told.err == (
        "seed 5 gives no family: its base scores 0.000 on the target, and 0.05 to 0.2 is wanted. "
        "Take another seed\n"
    )
