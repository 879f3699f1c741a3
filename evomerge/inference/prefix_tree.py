"""A population of paths as the tree of their beginnings: what several share is computed once.

Paths that begin alike are alike up to where they part. All rows of a batch, with the context that
they share and what continues them, go through a layer together; then its keys and values are
forgotten. Only hidden states are kept, where paths part; and because the branch with the most
paths is always gone along last, of n paths no more than log2(n) + 1 of them at a time.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from evomerge.inference.batches import BATCH_TOKENS
from evomerge.inference.families import Row
from evomerge.inference.forward import count_positions
from evomerge.inference.layer_host import Call, LayerHost, Step
from evomerge.inference.layer_path import (
    Hops,
    LayerPath,
    LayerPool,
    find_head,
    open_all,
    outline_all,
)
from evomerge.inference.passes import Pass
from evomerge.inference.scoring import Plan, Tally, TokenScore

HELD = 4 * BATCH_TOKENS
"""Tokens beyond which passes that share a beginning go through the tree in parts."""

Path = tuple[Step, ...]
Request = tuple[Row, Row]


class Population:
    """Paths that are scored together, each to the bit as it would be alone.

    The first member that asks has the scores of all that are left computed; the others are answered
    from memory. Text is each member's own affair.

    Args:
        pool: whose layers they visit.
        paths: of the members; those that begin with different models share nothing.
        target: what the scales multiply; see `layer_path.find_steps`.

    Attributes:
        computed: layers that have been run, once for each batch of rows.
        asked: layers that would have been run without the tree.
    """

    def __init__(self, pool: LayerPool, paths: Sequence[Hops], target: str = "stream") -> None:
        self._pool = pool
        self._members = [Member(self, pool, hops, target) for hops in paths]
        self._left = list(self._members)
        self._memory: dict[tuple[Hashable, ...], dict[Member, list[TokenScore]]] = {}
        self.computed = self.asked = 0

    def member(self, number: int) -> "Member":
        """Return a member as a LanguageModel."""
        return self._members[number]

    def drop(self, number: int) -> None:
        """Compute nothing for a member any more unless it asks."""
        member = self._members[number]
        self._left = [other for other in self._left if other is not member]
        for waiting in self._memory.values():
            waiting.pop(member, None)

    def score(self, member: "Member", rows: Sequence[Request]) -> list[TokenScore]:
        """Return a member's scores of (context, continuation); no context is empty."""
        key = (member.steps[0].model, *rows)
        waiting = self._memory.get(key, {})
        if member not in waiting:
            company = self._find_company(member, bool(waiting))
            waiting = self._memory[key] = waiting | self._ask(member, company, rows)
        found = waiting.pop(member)
        if not waiting:
            del self._memory[key]
        return found

    def _find_company(self, member: "Member", known: bool) -> list["Member"]:
        """Return who will ask the same, as far as it is seen: all that begin with the same model.

        Those to which something else has been foretold ask what they like; they are on their own.
        """
        foretold = known or any(member in waiting for waiting in self._memory.values())
        if foretold or member not in self._left:
            return [member]
        return [other for other in self._left if other.steps[0].model == member.steps[0].model]

    def _ask(
        self, member: "Member", company: Sequence["Member"], rows: Sequence[Request]
    ) -> dict["Member", list[TokenScore]]:
        """Return the scores of a member, and of its company if nothing is in the way."""
        if company != [member]:
            try:
                return self._compute(company, rows)
            except Exception:
                self._left = []  # who is to blame cannot be seen: from here on, each is alone
        return self._compute([member], rows)

    def _compute(
        self, members: Sequence["Member"], rows: Sequence[Request]
    ) -> dict["Member", list[TokenScore]]:
        """Return the scores of several members that begin with the same model."""
        plan = Plan(members[0].prove(), rows)
        tallies = {member.steps: plan.tally() for member in members}
        root, first = plant(tallies), members[0].steps[0].model
        steps = root.count_steps()
        models = dict.fromkeys(step.model for path in tallies for step in path)
        hosts = {model: self._pool.hosts[model] for model in models}
        for work in plan.passes():
            for script in write_scripts(work):
                Walk(hosts, first, script).go(root)
                self.computed += steps
                self.asked += sum(len(member.steps) for member in members)
        return {member: tallies[member.steps].answer() for member in members}


class Member(LayerPath):
    """A path of a population.

    Args:
        population: it belongs to.
        pool: whose layers it visits.
        hops: the path.
        target: what the scales multiply.
    """

    def __init__(
        self, population: Population, pool: LayerPool, hops: Hops, target: str = "stream"
    ) -> None:
        super().__init__(pool, hops, target)
        self._population = population

    @torch.inference_mode()
    def score_tokens(
        self, requests: Sequence[tuple[Sequence[int], Sequence[int]]]
    ) -> list[TokenScore]:
        """Score continuations given their contexts, both as token ids; see `TransformersModel`."""
        return self._population.score(self, [self._fit(*request) for request in requests])


@dataclass(slots=True)
class Node:
    """A beginning of paths.

    Attributes:
        step: its last; None where nothing has begun.
        paths: how many different paths begin like this.
        tally: where the answers of the path go that ends here, if one does.
        after: where the others go on to.
    """

    step: Step | None = None
    paths: int = 0
    tally: Tally | None = None
    after: dict[Step, "Node"] = field(default_factory=dict)

    def count_steps(self) -> int:
        """Count the layers that have to be run after it."""
        count, level = 0, [self]  # by levels: a path may be longer than calls can be nested
        while level:
            level = [after for node in level for after in node.after.values()]
            count += len(level)
        return count


def plant(tallies: Mapping[Path, Tally]) -> Node:
    """Return the root of the tree of paths, each with where its answers go."""
    root = Node(paths=len(tallies))
    for path, tally in tallies.items():
        node = root
        for step in path:
            node = node.after.setdefault(step, Node(step))
            node.paths += 1
        node.tally = tally
    return root


@dataclass(frozen=True, slots=True)
class Sheet:
    """A pass on its way through the tree.

    Attributes:
        work: the pass.
        before: which sheet of the script is the pass before; None for the first.
    """

    work: Pass
    before: int | None = None


def write_scripts(first: Pass) -> Iterator[list[Sheet]]:
    """Divide a pass and all that come after it into what goes through the tree together.

    If that is done in parts, the first pass is done with each, and answers once.
    """
    script = [Sheet(first)]
    for later in first.after or ():
        if sum(sheet.work.ids.numel() for sheet in script[1:]) >= HELD:
            yield script
            script = [Sheet(replace(first, wanted=()))]
        _append(script, later, 0)
    yield script


def _append(script: list[Sheet], work: Pass, before: int) -> None:
    script.append(Sheet(work, before))
    number = len(script) - 1
    for later in work.after or ():
        _append(script, later, number)


class Walk:
    """A script's way through the tree.

    Args:
        hosts: models that the paths visit.
        first: the one with which all of them begin.
        script: what is to be read.
    """

    def __init__(
        self, hosts: Mapping[Hashable, LayerHost], first: Hashable, script: Sequence[Sheet]
    ) -> None:
        self._hosts, self._first, self._script = hosts, first, script
        self._calls: list[dict[Hashable, list[Call]]] = []

    def go(self, root: Node) -> None:
        """Go to the ends of all paths."""
        self._go_on(root, self._open())

    def _open(self) -> list[Tensor]:
        """Return what enters the first layer, [rows, width, size] for each sheet."""
        outlines: list[Any] = []
        hidden = []
        for sheet in self._script:
            work = sheet.work
            outline = _continue(sheet, outlines, outline_all(self._hosts))
            positions = work.positions
            if positions is None and work.mask is not None:
                positions = count_positions(work.mask, work.ids.shape[1])
            openings = open_all(
                self._hosts, self._first, work.ids, work.mask, positions, outline=outline
            )
            outlines.append(outline)
            hidden.append(openings[self._first].hidden)
            self._calls.append({model: opening.calls for model, opening in openings.items()})
        return hidden

    def _go_on(self, node: Node, hidden: list[Tensor]) -> None:
        """Go to the ends of all paths that have come to a node, with what enters its step."""
        while True:
            hidden = hidden if node.step is None else self._run(node.step, hidden)
            if node.tally is not None and node.step is not None:
                self._answer(node.tally, self._hosts[node.step.model], hidden)
            if not node.after:
                return
            *others, heaviest = sorted(node.after.values(), key=lambda after: after.paths)
            for other in others:
                self._go_on(other, hidden)
            node = heaviest

    def _run(self, step: Step, hidden: Sequence[Tensor]) -> list[Tensor]:
        """Take all sheets through a layer."""
        host = self._hosts[step.model]
        slots: list[Any] = []
        out = []
        for sheet, calls, entering in zip(self._script, self._calls, hidden, strict=True):
            slots.append(_continue(sheet, slots, host.slot(step.layer)))
            out.append(host.run(step, entering, calls[step.model], slots[-1]))
        return out

    def _answer(self, tally: Tally, host: LayerHost, hidden: Sequence[Tensor]) -> None:
        """Note what the path says that ends here."""
        head = find_head(self._hosts[self._first], host)
        for sheet, states in zip(self._script, hidden, strict=True):
            work = sheet.work
            if work.wanted:
                logits = host.close(states[:, -work.keep :], head=head).logits
                tally.add(logits, work.wanted)


def _continue(sheet: Sheet, caches: Sequence[Any], empty: Any) -> Any:
    """Return the cache that a sheet reads with, None if it needs none.

    Args:
        sheet: the pass.
        caches: of the sheets before.
        empty: one for a pass with none before.
    """
    if sheet.before is not None and sheet.work.arrange is not None:
        return sheet.work.arrange(caches[sheet.before])
    return None if sheet.work.after is None else empty
