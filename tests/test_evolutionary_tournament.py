import json
import logging
from pathlib import Path
from typing import Any

import pytest

from evomerge.config import Configuration, EvolutionSettings, MergeSettings, ModelReference
from evomerge.errors import ConfigError, EvoMergeException
from evomerge.evolutionary_tournament import (
    EvolutionaryMerger,
    EvolutionaryTournament,
    find_free_name,
    run_evolutionary_tournament,
)

SPLITS = ("search", "validation", "test")


def zoo_tournament(folder: Path, **changes: Any) -> Configuration:
    """Return a tournament of a few candidates and a few items."""
    tasks = []
    for name, prompt, target in (("sort", "s db{}=", "bd{}"), ("reverse", "r ab{}=", "{}ba")):
        rows = [
            {"prompt": prompt.format(letter), "target": target.format(letter), "split": split}
            for split, letters in zip(SPLITS, ("efg", "hij", "klm"), strict=True)
            for letter in letters
        ]
        file = folder / f"{name}.jsonl"
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        exact = {"evaluator": "exact_match", "data": str(file), "max_new_tokens": 6}
        tasks.append({"name": name, **exact})
    evolution = {"num_generations": 2, "population_size": 4, "tasks": tasks, "workers": 1}
    runs = folder / "runs"
    return Configuration(
        models=[ModelReference(name=n, path=f"zoo:{n}") for n in ("sort", "reverse", "base")],
        merge_settings=MergeSettings(custom_dir=str(runs), **changes.pop("merging", {})),
        evolution_settings=EvolutionSettings(**{**evolution, **changes}),
    )


def test_the_best_model_is_one_that_transformers_loads_and_lineage_says_who_came_of_whom(
    tmp_path: Path,
) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = zoo_tournament(tmp_path)
    best = run_evolutionary_tournament(config)
    assert Path(best) == tmp_path / "runs" / "tournament" / "best"
    model = AutoModelForCausalLM.from_pretrained(best)
    tokens = AutoTokenizer.from_pretrained(best)("s dbca=", return_tensors="pt")
    assert model(**tokens).logits.isfinite().all()

    tournament = EvolutionaryTournament(config)
    lineage = tournament.lineage()
    assert [entry["how"] for entry in lineage[:8]] == ["known"] * 8
    assert {entry["how"] for entry in lineage[8:]} == {"mutant", "merger"}
    first = {entry["what"] for entry in lineage[:8]}
    assert len(first) == 8
    assert "linear + ties + frankenmerge" in first
    assert all(entry["what"].count(" + ") >= 2 for entry in lineage)
    names = {entry["candidate"] for entry in lineage[:8]}
    assert all(set(entry["of"]) <= names for entry in lineage[8:])
    assert tournament.evolve(start_from_checkpoint=Path(best).parent) == [best]


def test_the_initial_population_is_eight_recipes(tmp_path: Path) -> None:
    population = EvolutionaryTournament(zoo_tournament(tmp_path)).create_initial_population()
    assert len(population) == 8
    assert all(recipe["merge_method"] == "passthrough" for recipe in population.values())
    assert not (tmp_path / "runs").exists()


def test_models_that_do_not_fit_are_refused_before_work_starts(
    tmp_path: Path, tiny_llama: Any
) -> None:
    config = zoo_tournament(tmp_path)
    other = ModelReference(name="other", path=str(tiny_llama(1)))
    tournament = EvolutionaryTournament(
        config.model_copy(update={"models": [*config.models, other]})
    )
    with pytest.raises(EvoMergeException, match="hidden_size"):
        tournament.evolve()
    assert not list(tmp_path.rglob("store.db"))


def test_few_bits_need_cuda_and_say_so_before_work_starts(tmp_path: Path) -> None:
    config = zoo_tournament(tmp_path, merging={"use_4bit": True})
    tournament = EvolutionaryTournament(config)
    tournament.run_config.executor.device = "cpu"
    with pytest.raises(EvoMergeException, match=r"4 bits on CUDA only, .* 'cpu'. Leave use_8bit"):
        tournament.evolve()
    assert not list(tmp_path.rglob("store.db"))


def test_lineage_before_anything_was_evolved(tmp_path: Path) -> None:
    with pytest.raises(EvoMergeException, match="there is no run 'tournament'"):
        EvolutionaryTournament(zoo_tournament(tmp_path)).lineage()


def test_what_has_no_effect_is_logged(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="evomerge"):
        EvolutionaryMerger(zoo_tournament(tmp_path, merging={"chunk_size": 10}))
    assert "merges are always streamed" in caplog.text


def test_what_cannot_be_is_told_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such parameter"):
        EvolutionaryTournament(zoo_tournament(tmp_path, merging={"parameters": {"dfs": {"t": 1}}}))


def test_every_tournament_has_a_folder_of_its_own(tmp_path: Path) -> None:
    assert find_free_name(tmp_path) == "tournament"
    (tmp_path / "tournament").mkdir()
    assert find_free_name(tmp_path) == "tournament-2"
