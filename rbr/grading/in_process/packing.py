"""Lays out the tokens of several prompts as packed sequences, in which every token occurs once.

A prompt with many long tails is spread over several sequences, its steps.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import TypeAlias

import torch

from rbr.grading.in_process.prompt_tokens import SharedPrompt

PrefixStates: TypeAlias = dict[int, dict[int, tuple[torch.Tensor, torch.Tensor]]]
"""Keys and values of prefixes, by call of the attention within a forward pass and number of the prompt."""


@dataclass(frozen=True)
class Part:
    """What a step computes of a prompt: some of its tails, after its prefix or after the states of an earlier step.

    Example:
        >>> prompt = SharedPrompt([5, 6], [[7, 8], [7, 9]])
        >>> Part(0, prompt, prompt.tails[:1], has_prefix=True).tails
        [[7, 8]]
    """

    number: int
    prompt: SharedPrompt
    tails: list[list[int]]
    has_prefix: bool


@dataclass(frozen=True)
class TailRows:
    """Tails of similar lengths, as rows of indices into the tokens of all trees.

    Attributes:
        nodes: Index of each token of each tail, int[R, W]; the last one is repeated to the width.
        taken: Entries of `nodes`, flattened, that hold each node for the first time, int[N].
        put: Node of each of these entries, int[N].
        range: The nodes, if `nodes` counts them without gaps; else None. Then no copy is needed.

    Example:
        >>> prompt = SharedPrompt([5, 6], [[7, 8], [7, 9]])
        >>> packing = Packing.of([Part(0, prompt, prompt.tails, has_prefix=True)], torch.device("cpu"), {})
        >>> [rows.nodes.shape[1] for rows in packing.tails]
        [2]
    """

    nodes: torch.Tensor
    taken: torch.Tensor
    put: torch.Tensor
    range: slice | None


@dataclass(frozen=True)
class Packing:
    """The tokens of a step, and which of them belong together.

    Attributes:
        tokens: Ids, int[1, L]: prefixes, then trees.
        positions: Position of each token in its own prompt, int[1, L].
        last_tokens: Index of the last token of each tail, int[T].
        prefixes: Number of the prompt and range of each prefix.
        trees: Number of the prompt and range of each tree.
        first_node: Index of the first token of the trees.
        tails: The tails of all trees, grouped by length.
        prefix_states: Keys and values of the prefixes, for this and later steps.
        calls: Numbers the calls of the attention. A layer may attend more than once in a forward pass.

    Example:
        >>> prompt = SharedPrompt([5, 6], [[7, 8], [7, 9]])
        >>> Packing.of([Part(0, prompt, prompt.tails, has_prefix=True)], torch.device("cpu"), {}).positions.tolist()
        [[0, 1, 2, 3, 3]]
    """

    tokens: torch.Tensor
    positions: torch.Tensor
    last_tokens: torch.Tensor
    prefixes: list[tuple[int, slice]]
    trees: list[tuple[int, slice]]
    first_node: int
    tails: list[TailRows]
    prefix_states: PrefixStates
    calls: Iterator[int] = field(default_factory=count)

    @classmethod
    def of(cls, parts: Sequence[Part], device: torch.device, prefix_states: PrefixStates) -> "Packing":
        """Lays out the tokens of a step.

        Example:
            >>> prompt = SharedPrompt([5, 6], [[7, 8], [7, 9]])
            >>> packing = Packing.of([Part(0, prompt, prompt.tails, has_prefix=True)], torch.device("cpu"), {})
            >>> packing.tokens.tolist(), packing.positions.tolist()
            ([[5, 6, 7, 8, 9]], [[0, 1, 2, 3, 3]])
        """
        tokens: list[int] = []
        positions: list[int] = []
        # 1. The prefixes.
        prefixes = []
        for part in parts:
            if part.has_prefix:
                prefixes.append((part.number, slice(len(tokens), len(tokens) + len(part.prompt.prefix))))
                tokens += part.prompt.prefix
                positions += range(len(part.prompt.prefix))
        # 2. The trees: tails of a prompt that begin with the same tokens share the nodes of these tokens.
        first_node = len(tokens)
        trees, paths = [], []
        for part in parts:
            start = len(tokens)
            node_of: dict[tuple[int, int], int] = {}  # (parent, token) -> node; the parent of a first token is -1
            for tail in part.tails:
                path = [-1]
                for depth, token in enumerate(tail):
                    key = (path[-1], token)
                    if key not in node_of:
                        node_of[key] = len(tokens) - first_node
                        tokens.append(token)
                        positions.append(len(part.prompt.prefix) + depth)
                    path.append(node_of[key])
                paths.append(path[1:])
            trees.append((part.number, slice(start, len(tokens))))
        return cls(
            tokens=torch.tensor([tokens], device=device),
            positions=torch.tensor([positions], device=device),
            last_tokens=torch.tensor([first_node + path[-1] for path in paths], device=device),
            prefixes=prefixes,
            trees=trees,
            first_node=first_node,
            tails=_tail_rows(paths, device),
            prefix_states=prefix_states,
        )


def steps(prompts: Sequence[SharedPrompt], max_tokens: int) -> Iterator[list[Part]]:
    """Cuts the prompts into steps; a prompt with many long tails is spread over several steps."""
    step: list[Part] = []
    size = 0
    for number, prompt in enumerate(prompts):
        tails: list[list[int]] = []
        has_prefix = True
        if step and size + len(prompt.prefix) >= max_tokens:
            yield step
            step, size = [], 0
        size += len(prompt.prefix)
        for tail in prompt.tails:
            tails.append(tail)
            size += len(tail)
            if size >= max_tokens:
                yield [*step, Part(number, prompt, tails, has_prefix)]
                step, tails, size, has_prefix = [], [], 0, False
        if tails:
            step.append(Part(number, prompt, tails, has_prefix))
    if step:
        yield step


def _tail_rows(paths: Sequence[Sequence[int]], device: torch.device) -> list[TailRows]:
    """Groups paths so that a group wastes less than half of its width, and finds where each node occurs first."""
    groups: dict[int, list[Sequence[int]]] = {}
    for path in paths:
        groups.setdefault((len(path) - 1).bit_length(), []).append(path)
    seen: set[int] = set()
    result = []
    for group in groups.values():
        width = max(map(len, group))
        taken, put = [], []
        for row, path in enumerate(group):
            for column, node in enumerate(path):
                if node not in seen:
                    seen.add(node)
                    taken.append(row * width + column)
                    put.append(node)
        if not put:
            continue
        nodes = [node for path in group for node in [*path, *[path[-1]] * (width - len(path))]]
        is_range = nodes == list(range(nodes[0], nodes[0] + len(nodes))) and len(put) == len(nodes)
        result.append(
            TailRows(
                torch.tensor(nodes, device=device).unflatten(0, (len(group), width)),
                torch.tensor(taken, device=device, dtype=torch.long),
                torch.tensor(put, device=device, dtype=torch.long),
                slice(nodes[0], nodes[0] + len(nodes)) if is_range else None,
            )
        )
    return result
