"""Log-likelihoods of token sequences: shared contexts once, logits only where they are needed.

The same numbers as a plain forward pass of every request, which is what lm-evaluation-harness
computes (https://github.com/EleutherAI/lm-evaluation-harness), at a fraction of the work: equal
requests are answered once, a context is read once for all its continuations, a beginning that many
contexts share (few-shot examples) once for all of them, and a continuation's first token comes from
the context's own last logits.
"""

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from evomerge.inference import batches
from evomerge.inference.batches import pack, weigh_logits
from evomerge.inference.caches import branch
from evomerge.inference.families import Row
from evomerge.inference.forward import Forward
from evomerge.inference.passes import Pass, Wanted, follow
from evomerge.inference.reading import divide, lay_out
from evomerge.inference.trees import mask_side_by_side

LEAST_SAVED = 16
"""Tokens that sharing a context must save: what the second pass costs at least. Besides, a quarter
of the continuations', which are read all the same: whole texts share no more than a start token."""
WIDEST = 256
"""Tokens of continuations that are read side by side, or as many as the context has: each looks at
all of them, if only to see that they are not its own."""
CHUNK = 1 << 22
"""Logits that are turned into probabilities at a time: 16 MiB of float32."""


class TokenScore(NamedTuple):
    """What a model thinks of a continuation.

    Attributes:
        log_likelihood: nats, the sum over its tokens.
        greedy: whether each of its tokens is the likeliest where it stands.
    """

    log_likelihood: float
    greedy: bool


class Question(NamedTuple):
    """A row to be read, and the requests that it answers.

    Attributes:
        tokens: the context, and of a single continuation all but its last token.
        context: how many tokens of it are context.
        requests: numbers of the requests; several share the row's last position.
    """

    tokens: Row
    context: int
    requests: list[int]

    @property
    def keep(self) -> int:
        """Of how many last positions logits are needed."""
        return len(self.tokens) - self.context + 1


def score_tokens(forward: Forward, requests: Sequence[tuple[Row, Row]]) -> list[TokenScore]:
    """Score every request, in order.

    Args:
        forward: the model.
        requests: (context, continuation); no context is empty.
    """
    plan = Plan(forward, requests)
    scores = plan.tally()
    for first in plan.passes():
        for logits, wanted in follow(forward, first):
            scores.add(logits, wanted)
    return scores.answer()


class Tally:
    """What is known of each request so far.

    Args:
        asked: numbers of the requests, some of which may be equal, in order.
    """

    def __init__(self, asked: Sequence[int]) -> None:
        self._asked = asked
        self._scores = [TokenScore(0.0, True)] * (max(asked, default=-1) + 1)

    def add(self, logits: Tensor, wanted: Sequence[Wanted]) -> None:
        """Add what these logits say.

        Args:
            logits: of the last positions of rows, [rows, keep, vocabulary].
            wanted: what they predict.
        """
        values, likeliest = look_up(logits, wanted)
        start = 0
        for _, _, request, tokens in wanted:
            end = start + len(tokens)
            total, greedy = self._scores[request]
            self._scores[request] = TokenScore(
                total + math.fsum(values[start:end]), greedy and all(likeliest[start:end])
            )
            start = end

    def answer(self) -> list[TokenScore]:
        """Return the scores, in the order of the requests."""
        return [self._scores[number] for number in self._asked]


class Plan:
    """What is read to answer requests: no token says what a model answers.

    Args:
        forward: the model, or one like it.
        requests: (context, continuation); no context is empty.
    """

    def __init__(self, forward: Forward, requests: Sequence[tuple[Row, Row]]) -> None:
        numbers: dict[tuple[Row, Row], int] = {}
        self._asked = [numbers.setdefault(request, len(numbers)) for request in requests]
        self._forward = forward
        self._tails = [tail for _, tail in numbers]
        self._questions = list(self._ask(list(numbers)))

    def tally(self) -> Tally:
        """Return the scores of a model that has read nothing yet."""
        return Tally(self._asked)

    def passes(self) -> Iterator[Pass]:
        """Yield the passes with which reading begins."""
        contexts = [question.tokens[: question.context] for question in self._questions]
        for depth, members in divide(self._forward, contexts):
            questions = [self._questions[k] for k in members]
            if not depth:
                yield from self._read_whole([q for q in questions if not self._branches(q)])
                yield from self._read_shared([q for q in questions if self._branches(q)], 0)
            else:
                ids = self._forward.pad_left([questions[0].tokens[:depth]])
                yield Pass(ids, after=self._read_shared(questions, depth))

    def _ask(self, requests: Sequence[tuple[Row, Row]]) -> Iterator[Question]:
        """Yield the rows to be read: one per context where that saves something."""
        same: dict[Row, list[int]] = {}
        for number, (context, tail) in enumerate(requests):
            if tail:
                same.setdefault(context, []).append(number)
        for context, numbers in same.items():
            saved = (len(numbers) - 1) * len(context)
            least = max(LEAST_SAVED, sum(len(self._tails[number]) for number in numbers) // 4)
            shared = saved >= least and self._has_room(context, numbers)
            if shared or not any(map(self._goes_on, numbers)):
                yield Question(context, len(context), numbers)
            else:
                yield from (self._stretch(context, number) for number in numbers)

    def _has_room(self, context: Row, numbers: Sequence[int]) -> bool:
        """Tell whether continuations of a context fit behind it, however both are padded."""
        if not self._forward.sharing.branches or self._forward.limit is None:
            return self._forward.sharing.branches
        longest = max(len(self._tails[number]) for number in numbers)
        return len(context) + longest + 2 * batches.PADDING <= self._forward.limit

    def _stretch(self, context: Row, number: int) -> Question:
        """Return a context with one continuation, all but its last token."""
        return Question(context + self._tails[number][:-1], len(context), [number])

    def _branches(self, question: Question) -> bool:
        """Tell whether several continuations go on where the row ends."""
        return len(question.requests) > 1 and any(map(self._goes_on, question.requests))

    def _goes_on(self, request: int) -> bool:
        return len(self._tails[request]) > 1

    def _read_whole(self, questions: Sequence[Question]) -> Iterator[Pass]:
        """Read rows that nothing continues as the harness does, padded on the right."""
        for batch in self._pack(questions, 0):
            ids = self._forward.pad_right([question.tokens for question in batch])
            first = min(question.context for question in batch) - 1
            places = [question.context - 1 - first for question in batch]
            yield Pass(ids, ids.shape[1] - first, list(self._expect(batch, places)))

    def _read_shared(self, questions: Sequence[Question], depth: int) -> Iterator[Pass]:
        """Read rows once each, then all that continues them."""
        for batch in self._pack(questions, depth):
            keep = max(question.keep for question in batch)
            rows = [question.tokens for question in batch]
            ids, mask, arrange = lay_out(self._forward, rows, depth)
            wanted = list(self._expect(batch, [keep - question.keep for question in batch]))
            after = self._continue(batch, mask) if any(map(self._branches, batch)) else None
            yield Pass(ids, keep, wanted, mask, arrange=arrange, after=after)

    def _pack(self, questions: Sequence[Question], depth: int) -> Iterator[list[Question]]:
        vocabulary = self._forward.vocabulary
        widths = [len(question.tokens) - depth for question in questions]
        costs = [max(len(q.tokens), weigh_logits(q.keep, vocabulary)) for q in questions]
        for rows in self._forward.pack(widths, costs):
            yield [questions[row] for row in rows]

    def _expect(self, batch: Sequence[Question], places: Sequence[int]) -> Iterator[Wanted]:
        """Yield what a batch's own logits predict: of several continuations the first tokens."""
        for row, (question, place) in enumerate(zip(batch, places, strict=True)):
            whole = len(question.requests) == 1
            for request in question.requests:
                tail = self._tails[request]
                yield Wanted(row, place, request, tail if whole else tail[:1])

    def _continue(self, batch: Sequence[Question], context: Tensor) -> Iterator[Pass]:
        """Read what several continuations of a row have after their first token."""
        onward = [
            [Wanted(row, 0, r, self._tails[r]) for r in question.requests if self._goes_on(r)]
            for row, question in enumerate(batch)
            if len(question.requests) > 1
        ]
        widest = max(WIDEST, context.shape[1]) if self._forward.sharing.trees else 0
        onward = [part for several in onward for part in _cut(several, widest)]
        groups = [several for several in onward if several]
        widths = [sum(map(len, _alike(several))) for several in groups]
        costs = [
            max(context.shape[1] + width, weigh_logits(width, self._forward.vocabulary))
            for width in widths
        ]
        for chosen in pack(widths, costs):
            yield self._continue_batch([groups[k] for k in chosen], context)

    def _continue_batch(self, groups: Sequence[Sequence[Wanted]], context: Tensor) -> Pass:
        """Read rows of continuations, each of which sees its context and itself."""
        rows = [[token for part in _alike(several) for token in part] for several in groups]
        ids = self._forward.pad_right(rows)
        owners = torch.tensor([several[0].row for several in groups], device=ids.device)
        mask, positions = context[owners], None
        if self._forward.sharing.trees:
            lengths = [[len(part) for part in _alike(several)] for several in groups]
            dtype = self._forward.module.dtype
            mask, positions = mask_side_by_side(mask, lengths, dtype)
        else:
            present = self._forward.mark_beginnings([len(row) for row in rows], ids.shape[1])
            mask = torch.cat([mask, present], dim=1)
        wanted = list(_line_up(groups))
        return Pass(ids, ids.shape[1], wanted, mask, positions, partial(branch, rows=owners))


def _alike(several: Sequence[Wanted]) -> dict[Row, list[Wanted]]:
    """Return what has to be read of continuations: those that end differently, once."""
    found: dict[Row, list[Wanted]] = {}
    for wanted in several:
        found.setdefault(wanted.tokens[:-1], []).append(wanted)
    return found


def _cut(several: Sequence[Wanted], widest: int) -> Iterator[list[Wanted]]:
    """Divide continuations of a row into parts of at most so many tokens, or of a single one."""
    part, width = list[Wanted](), 0
    for tokens, same in _alike(several).items():
        if part and width + len(tokens) > widest:
            yield part
            part, width = [], 0
        part, width = [*part, *same], width + len(tokens)
    if part:
        yield part


def _line_up(groups: Sequence[Sequence[Wanted]]) -> Iterator[Wanted]:
    """Yield where the logits of a row of continuations predict each of them."""
    for row, several in enumerate(groups):
        place = 0
        for part, same in _alike(several).items():
            for wanted in same:
                yield Wanted(row, place, wanted.request, wanted.tokens[1:])
            place += len(part)


def look_up(logits: Tensor, wanted: Sequence[Wanted]) -> tuple[list[float], list[bool]]:
    """Return log-probability, and whether it is the likeliest, of every wanted token in turn."""
    rows = [w.row for w in wanted for _ in w.tokens]
    places = [w.place + k for w in wanted for k in range(len(w.tokens))]
    tokens = [token for w in wanted for token in w.tokens]
    index = torch.tensor([rows, places, tokens], device=logits.device)
    best, totals = [], []
    for part in torch.split(logits.flatten(0, 1), max(CHUNK // logits.shape[2], 1)):
        exact = part.float()
        best.append(exact.argmax(1))
        totals.append(exact.logsumexp(1))
    cell = index[0] * logits.shape[1] + index[1]
    values = logits[index[0], index[1], index[2]].double() - torch.cat(totals)[cell]
    return values.tolist(), (torch.cat(best)[cell] == index[2]).tolist()
