"""Three exact ways to read a causal model's next-token logits after ``prefix + question``, fastest first.

All take right-to-left ragged token lists and return float32 logits[prefixes, questions, vocabulary]:

- `packed`: one sequence per prefix, all questions behind it; a mask lets a question see the prefix and
  itself, and words that questions begin with in common are computed once.
- `repeated`: the prefix runs once, its key/value cache is repeated for the questions.
- `unshared`: every pair by itself. Any model can do this.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch

Layout = Callable[[Any, Sequence[Sequence[int]], Sequence[Sequence[int]]], torch.Tensor]


@torch.inference_mode()
def packed(model: Any, prefixes: Sequence[Sequence[int]], questions: Sequence[Sequence[int]]) -> torch.Tensor:
    """Block mask over one sequence per prefix; needs a model that takes a 4D mask and position ids."""
    prefix, real = _left_padded(prefixes, model.device)
    tokens, depths, ancestors, ends = _question_tree(questions)
    rows, width, tail = len(prefixes), prefix.shape[1], len(tokens)
    visible = torch.zeros(width + tail, width + tail, dtype=torch.bool)
    visible[:width, :width] = torch.ones(width, width, dtype=torch.bool).tril()
    visible[width:, :width] = True
    visible[width:, width:] = ancestors
    seen = visible.to(model.device).repeat(rows, 1, 1)
    seen[:, :, :width] &= real[:, None, :]
    # A padding row that may attend to nothing would be NaN, and NaN times zero weight is NaN again.
    seen |= torch.eye(width + tail, dtype=torch.bool, device=model.device)
    mask = torch.zeros(seen.shape, dtype=model.dtype, device=model.device)
    mask.masked_fill_(~seen, torch.finfo(model.dtype).min)
    start = real.sum(dim=1, keepdim=True)
    behind = start + torch.tensor(depths, device=model.device)
    return model(
        input_ids=torch.cat([prefix, torch.tensor([tokens], device=model.device).expand(rows, -1)], dim=1),
        attention_mask=mask[:, None],
        position_ids=torch.cat([_positions(real), behind], dim=1),
        logits_to_keep=torch.tensor(ends, device=model.device) + width,
        use_cache=False,
    ).logits.float()


@torch.inference_mode()
def repeated(model: Any, prefixes: Sequence[Sequence[int]], questions: Sequence[Sequence[int]]) -> torch.Tensor:
    """One pass over the prefixes, one over the questions; needs a cache that can be repeated."""
    prefix, real = _left_padded(prefixes, model.device)
    first = model(
        input_ids=prefix,
        attention_mask=real.long(),
        position_ids=_positions(real),
        use_cache=True,
        logits_to_keep=1,
    )
    cache = first.past_key_values
    cache.batch_repeat_interleave(len(questions))
    question, asked = _left_padded(questions, model.device)
    start = real.sum(dim=1, keepdim=True)
    positions = (start[:, None] + _positions(asked)[None]).flatten(0, 1)
    seen = torch.cat([real.repeat_interleave(len(questions), 0), asked.repeat(len(prefixes), 1)], dim=1)
    logits = model(
        input_ids=question.repeat(len(prefixes), 1),
        attention_mask=seen.long(),
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits
    return logits[:, -1].float().unflatten(0, (len(prefixes), len(questions)))


@torch.inference_mode()
def unshared(model: Any, prefixes: Sequence[Sequence[int]], questions: Sequence[Sequence[int]]) -> torch.Tensor:
    """One row for each pair."""
    ids, real = _left_padded([[*prefix, *question] for prefix in prefixes for question in questions], model.device)
    logits = model(input_ids=ids, attention_mask=real.long(), position_ids=_positions(real)).logits
    return logits[:, -1].float().unflatten(0, (len(prefixes), len(questions)))


LAYOUTS: tuple[Layout, ...] = (packed, repeated, unshared)


def fastest_exact(model: Any, prefixes: Sequence[Sequence[int]], questions: Sequence[Sequence[int]]) -> Layout:
    """The first layout that gives this model the same probabilities as the unshared computation.

    Asking the model is the only sure way: whether it takes a 4D mask depends on its architecture and on
    the attention kernel in use, and one that does not may ignore the mask without an error.

    Args:
        model: A causal language model.
        prefixes: Two or more token lists of different lengths.
        questions: Two or more token lists of different lengths.
    """
    truth = torch.softmax(unshared(model, prefixes, questions), dim=-1)
    tolerance = 1e-4 if model.dtype == torch.float32 else 0.05
    for layout in LAYOUTS[:-1]:
        try:
            answer = torch.softmax(layout(model, prefixes, questions), dim=-1)
        except Exception:  # noqa: BLE001  A model refuses what it does not know in any way it likes.
            continue
        if answer.shape == truth.shape and (answer - truth).abs().max() <= tolerance:
            return layout
    return unshared


def _left_padded(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    width = max(map(len, rows))
    # Token 0 stands in for padding: it is masked, so its meaning does not matter.
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in rows], device=device)
    lengths = torch.tensor([len(row) for row in rows], device=device)
    return ids, torch.arange(width, device=device) >= width - lengths[:, None]


def _positions(real: torch.Tensor) -> torch.Tensor:
    return (real.cumsum(dim=1) - 1).clamp(min=0)


def _question_tree(
    questions: Sequence[Sequence[int]],
) -> tuple[list[int], list[int], torch.Tensor, list[int]]:
    """Merges common beginnings: tokens, depths, which nodes a node sees, and each question's last node."""
    nodes: dict[tuple[int, int], int] = {}
    depths: list[int] = []
    lineage: list[list[int]] = []
    ends: list[int] = []
    for question in questions:
        node = -1
        for depth, token in enumerate(question):
            key = (node, token)
            if key not in nodes:
                nodes[key] = len(nodes)
                depths.append(depth)
                lineage.append([*(lineage[node] if node >= 0 else []), nodes[key]])
            node = nodes[key]
        ends.append(node)
    ancestors = torch.zeros(len(nodes), len(nodes), dtype=torch.bool)
    for node, line in enumerate(lineage):
        ancestors[node, line] = True
    return [token for _, token in nodes], depths, ancestors, ends
