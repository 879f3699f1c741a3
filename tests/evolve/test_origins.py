import numpy as np

from evomerge.evolve.origins import name_origin, say_how, say_origin
from evomerge.genome import TechniqueSpace
from evomerge.records import Origin

SPACE = TechniqueSpace(["a", "b", "c"], 8)


def test_an_origin_is_named_by_what_how_and_of_whom() -> None:
    known = SPACE.space.known["slerp + ties + dfs"]
    found = name_origin(SPACE, known, Origin("merger", (1, 4)), 10)
    of = ["candidate 11", "candidate 14"]
    assert found == {"what": "slerp + ties + dfs", "how": "merger", "of": of}
    assert say_how(found) == "merger of 11, 14"
    told = "The merge is candidate 20: slerp + ties + dfs (merger of 11, 14)."
    assert say_origin("candidate 20", found) == told


def test_where_nothing_is_known_nothing_is_said() -> None:
    assert say_origin("candidate 3", {}) == ""
    assert say_origin("candidate 3", {"how": "mutant", "of": ["candidate 1"]}) == ""
    assert say_how({}) == ""
    assert say_how({"how": "known", "of": []}) == "known"


def test_a_merger_of_merges_is_both() -> None:
    space, known = SPACE.space, SPACE.space.known
    points = [known["linear + ties + dfs"], known["slerp + dare + frankenmerge"]]
    child = space.blend(points, np.random.default_rng(0))
    said = SPACE.describe(child)
    assert set(said.split(" and ")) <= {"linear + ties + dfs", "slerp + dare + frankenmerge"}
    assert said
