"""Three exact ways to compute a causal model's next-token logits after ``prefix + question``, fastest first.

Every prefix is combined with every question. Each layout takes token lists of any lengths and returns float32
logits[prefixes, questions, vocabulary]:

- `packed`: one sequence per prefix, with all questions after the prefix. A mask lets each question attend only to the
  prefix and to itself. Questions that begin with the same tokens share these tokens.
- `repeated_cache`: each prefix runs once, and its key/value cache is repeated for each question.
- `unshared`: one sequence per pair of prefix and question. Every model supports this layout.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

Layout = Callable[[Any, Sequence[Sequence[int]], Sequence[Sequence[int]]], torch.Tensor]


@torch.inference_mode()
def packed(model: Any, prefixes: Sequence[Sequence[int]], questions: Sequence[Sequence[int]]) -> torch.Tensor:
    """Runs one sequence per prefix: ``padding | prefix | tree of all questions``, with a block mask.

    Shapes: P prefixes, padded on the left to L tokens; T nodes in the question tree; S = L + T.

    Args:
        model: A causal language model that accepts a 4D attention mask and position ids.
        prefixes: P token lists.
        questions: Q token lists.

    Returns:
        float32[P, Q, vocabulary].
    """
    prefix, is_token = _left_padded(prefixes, model.device)  # both [P, L]
    tree = _QuestionTree(questions)
    n_prefixes, prefix_width, tree_width = len(prefixes), prefix.shape[1], len(tree.tokens)
    width = prefix_width + tree_width

    # 1. Whether the position of the row may attend to the position of the column, bool[S, S], for every prefix. A
    #    prefix token attends to itself and the prefix before it; a tree node to the prefix, its ancestors and itself.
    block_mask = torch.zeros(width, width, dtype=torch.bool)
    block_mask[:prefix_width, :prefix_width] = torch.ones(prefix_width, prefix_width, dtype=torch.bool).tril()
    block_mask[prefix_width:, :prefix_width] = True
    block_mask[prefix_width:, prefix_width:] = tree.ancestors

    # 2. The mask of each prefix, bool[P, S, S]. No position attends to padding, except that every position attends to
    #    itself: a softmax over no position is NaN, and NaN times a weight of 0 is NaN, too.
    may_attend = block_mask.to(model.device).repeat(n_prefixes, 1, 1)
    may_attend[:, :, :prefix_width] &= is_token[:, None, :]
    may_attend |= torch.eye(width, dtype=torch.bool, device=model.device)
    mask = torch.zeros(may_attend.shape, dtype=model.dtype, device=model.device)
    mask.masked_fill_(~may_attend, torch.finfo(model.dtype).min)

    # 3. Positions, int[P, S]. Every question begins right after the prefix, as if the other questions did not exist.
    prefix_lengths = is_token.sum(dim=1, keepdim=True)  # [P, 1]
    tree_positions = prefix_lengths + torch.tensor(tree.depths, device=model.device)  # [P, T]

    # 4. One forward pass. It computes logits only at the last token of each question: [P, Q, vocabulary].
    tree_tokens = torch.tensor([tree.tokens], device=model.device).expand(n_prefixes, -1)  # [P, T]
    return model(
        input_ids=torch.cat([prefix, tree_tokens], dim=1),
        attention_mask=mask[:, None],
        position_ids=torch.cat([_positions(is_token), tree_positions], dim=1),
        logits_to_keep=torch.tensor(tree.last_nodes, device=model.device) + prefix_width,
        use_cache=False,
    ).logits.float()


@torch.inference_mode()
def repeated_cache(model: Any, prefixes: Sequence[Sequence[int]], questions: Sequence[Sequence[int]]) -> torch.Tensor:
    """Runs each of the P prefixes once, and then each of the Q questions on a copy of the prefix's key/value cache.

    Args:
        model: A causal language model with a cache that can be repeated.
        prefixes: P token lists.
        questions: Q token lists.

    Returns:
        float32[P, Q, vocabulary].
    """
    # 1. Run the prefixes and repeat the cache of each prefix Q times: rows (prefix 0, question 0), (0, 1), ...
    prefix, prefix_is_token = _left_padded(prefixes, model.device)  # both [P, L]
    cache = model(
        input_ids=prefix,
        attention_mask=prefix_is_token.long(),
        position_ids=_positions(prefix_is_token),
        use_cache=True,
        logits_to_keep=1,
    ).past_key_values
    cache.batch_repeat_interleave(len(questions))
    # 2. Run the questions at the positions after each prefix.
    question, question_is_token = _left_padded(questions, model.device)  # both [Q, M]
    prefix_lengths = prefix_is_token.sum(dim=1, keepdim=True)  # [P, 1]
    positions = (prefix_lengths[:, None] + _positions(question_is_token)[None]).flatten(0, 1)  # [P * Q, M]
    is_token = torch.cat(
        [prefix_is_token.repeat_interleave(len(questions), 0), question_is_token.repeat(len(prefixes), 1)], dim=1
    )  # [P * Q, L + M]
    logits = model(
        input_ids=question.repeat(len(prefixes), 1),
        attention_mask=is_token.long(),
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits
    return logits[:, -1].float().unflatten(0, (len(prefixes), len(questions)))


@torch.inference_mode()
def unshared(model: Any, prefixes: Sequence[Sequence[int]], questions: Sequence[Sequence[int]]) -> torch.Tensor:
    """Runs one sequence for each of the P * Q pairs of prefix and question.

    Args:
        model: A causal language model.
        prefixes: P token lists.
        questions: Q token lists.

    Returns:
        float32[P, Q, vocabulary].
    """
    pairs = [[*prefix, *question] for prefix in prefixes for question in questions]
    ids, is_token = _left_padded(pairs, model.device)
    logits = model(input_ids=ids, attention_mask=is_token.long(), position_ids=_positions(is_token)).logits
    return logits[:, -1].float().unflatten(0, (len(prefixes), len(questions)))


LAYOUTS: tuple[Layout, ...] = (packed, repeated_cache, unshared)


def fastest_exact_layout(model: Any, prefixes: Sequence[Sequence[int]], questions: Sequence[Sequence[int]]) -> Layout:
    """Returns the fastest layout that gives this model the same probabilities as `unshared`.

    Probabilities count as equal if they differ by at most 1e-4 in fp32, or 0.05 in another type. The function runs the
    model with each layout, because only a run shows whether a layout works: some models reject a 4D mask, depending on
    architecture and attention kernel, and others ignore the mask without an error.

    Args:
        model: A causal language model.
        prefixes: Two or more token lists of different lengths.
        questions: Two or more token lists of different lengths.
    """
    expected = torch.softmax(unshared(model, prefixes, questions), dim=-1)
    tolerance = 1e-4 if model.dtype == torch.float32 else 0.05
    for layout in LAYOUTS[:-1]:
        try:
            probabilities = torch.softmax(layout(model, prefixes, questions), dim=-1)
        except Exception:  # noqa: BLE001  A model may reject an unknown argument with any exception.
            continue
        if probabilities.shape == expected.shape and (probabilities - expected).abs().max() <= tolerance:
            return layout
    return unshared


def _left_padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Pads token lists on the left; returns the ids and whether each position has a token, both [rows, width]."""
    width = max(map(len, rows))
    # Pad with token 0. Any token works, because padding is masked.
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(width, device=device) >= width - lengths[:, None]


def _positions(is_token: torch.Tensor) -> torch.Tensor:
    """Numbers the tokens of each row from 0; padding gets position 0."""
    return (is_token.cumsum(dim=1) - 1).clamp(min=0)


class _QuestionTree:
    """A prefix tree (trie) of questions: questions that begin with the same tokens share the nodes of these tokens.

    Attributes:
        tokens: Token of each node, [T]; a parent comes before its children.
        depths: Depth of each node, [T]; 0 for the first token of a question.
        ancestors: bool[T, T]; row i marks the nodes on the path from the root to node i, and node i itself.
        last_nodes: Node of the last token of each question, [Q].
    """

    def __init__(self, questions: Sequence[Sequence[int]]) -> None:
        self.depths: list[int] = []
        self.last_nodes: list[int] = []
        node_of: dict[tuple[int, int], int] = {}  # (parent, token) -> node; the parent of a first token is -1
        paths: list[list[int]] = []  # nodes from the root to the node, both included
        for question in questions:
            node = -1
            for depth, token in enumerate(question):
                key = (node, token)
                if key not in node_of:
                    node_of[key] = len(node_of)
                    self.depths.append(depth)
                    paths.append([*(paths[node] if node >= 0 else []), node_of[key]])
                node = node_of[key]
            self.last_nodes.append(node)
        self.tokens = [token for _, token in node_of]
        self.ancestors = torch.zeros(len(node_of), len(node_of), dtype=torch.bool)
        for node, path in enumerate(paths):
            self.ancestors[node, path] = True
