"""Pairs of replies to the same prompt whose labels have different ranks (paper section 4)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rbr.comparisons.prompt_sampling import is_held_out
from rbr.errors import InputError
from rbr.reward.fit_problems import FitProblem
from rbr.rulebook.parts import DEFAULT_MARGIN

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int32]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class ComparisonPairs:
    """All pairs of a fit problem, sorted by prompt id and by the rank of the better reply; N pairs.

    Attributes:
        better: Row of the better reply in the fit problem, int32[N].
        worse: Row of the worse reply, int32[N].
        margins: Margin of the better reply, in units of the spread of R_rm, float64[N].
        ranks: Rank of the better reply, int32[N]; 0 is the best.
        prompts: Index of the prompt in `prompt_ids`, int32[N].
        prompt_ids: Prompts that have a pair, sorted.

    Example:
        >>> problem = FitProblem(
        ...     response_type="comply", feature_names=("class:ideal",), prompt_ids=["p", "p"],
        ...     labels=["bad", "good"], features=np.array([[0.0], [1.0]]), r_rm=np.array([0.5, 0.0]),
        ...     ranking=[["good"], ["bad"]], margins={})
        >>> pairs = comparison_pairs(problem, complete_replies(problem))
        >>> pairs.better, pairs.worse
        (array([1], dtype=int32), array([0], dtype=int32))
    """

    better: IntArray
    worse: IntArray
    margins: FloatArray
    ranks: IntArray
    prompts: IntArray
    prompt_ids: Sequence[str]

    def __len__(self) -> int:
        return self.better.size

    def of_prompts(self, selected: BoolArray) -> "ComparisonPairs":
        """Returns the pairs of some prompts; `selected` is bool[prompt_ids]."""
        keep = selected[self.prompts]
        new_index = np.cumsum(selected, dtype=np.int32) - 1
        prompt_ids = [name for name, is_selected in zip(self.prompt_ids, selected, strict=True) if is_selected]
        return ComparisonPairs(
            self.better[keep],
            self.worse[keep],
            self.margins[keep],
            self.ranks[keep],
            new_index[self.prompts[keep]],
            prompt_ids,
        )


def complete_replies(problem: FitProblem) -> NDArray[np.intp]:
    """Returns the rows of the replies whose features and score all exist, ascending.

    Example:
        >>> problem = FitProblem(
        ...     response_type="comply", feature_names=("class:ideal",), prompt_ids=["p", "p"],
        ...     labels=["good", "bad"], features=np.array([[1.0], [np.nan]]), r_rm=np.array([0.0, 0.5]),
        ...     ranking=[["good"], ["bad"]], margins={})
        >>> complete_replies(problem)
        array([0])
    """
    return np.flatnonzero(np.isfinite(problem.features).all(axis=1) & np.isfinite(problem.r_rm))


def comparison_pairs(problem: FitProblem, rows: NDArray[np.intp]) -> ComparisonPairs:
    """Returns all pairs of some replies.

    Args:
        problem: The replies with their labels, and the ranking of the labels.
        rows: Rows of the replies to pair, ascending.

    Raises:
        InputError: A label is not ranked, or a margin is negative.

    Example:
        >>> problem = FitProblem(
        ...     response_type="comply", feature_names=("class:ideal",), prompt_ids=["p", "p", "q"],
        ...     labels=["good", "bad", "bad"], features=np.array([[1.0], [0.0], [0.0]]), r_rm=np.zeros(3),
        ...     ranking=[["good"], ["bad"]], margins={"good": 0.5})
        >>> pairs = comparison_pairs(problem, complete_replies(problem))
        >>> len(pairs), pairs.margins, pairs.prompt_ids
        (1, array([0.5]), ['p'])
    """
    rank_of_label = {label: place for place, labels in enumerate(problem.ranking) for label in labels}
    _check_labels(problem, rank_of_label)
    if not rows.size:
        empty = np.empty(0, dtype=np.int32)
        return ComparisonPairs(empty, empty, np.empty(0), empty, empty, [])
    # Each label and each prompt gets a number; the numbers of the prompts follow their ids.
    margin_of_label = {label: problem.margins.get(label, DEFAULT_MARGIN) for label in rank_of_label}
    labels = _numbers(problem.labels, list(rank_of_label))[rows]
    ranks = np.array(list(rank_of_label.values()), dtype=np.int32)[labels]
    margins = np.array(list(margin_of_label.values()), dtype=np.float64)[labels]
    prompt_ids = sorted(set(problem.prompt_ids))
    prompt_of_reply = _numbers(problem.prompt_ids, prompt_ids)[rows].astype(np.int64)
    # 1. Sort the replies by prompt and rank. All replies that are worse than a reply then follow it: they begin at the
    #    next rank of its prompt, and end with its prompt.
    order = np.lexsort((ranks, prompt_of_reply))
    rank_key = prompt_of_reply[order] * (len(problem.ranking) + 1) + ranks[order]
    first_worse = np.searchsorted(rank_key, rank_key, side="right")
    prompt_end = np.searchsorted(prompt_of_reply[order], prompt_of_reply[order], side="right")
    # 2. Repeat each reply once for each worse reply.
    n_worse = prompt_end - first_worse
    better = np.repeat(np.arange(order.size), n_worse)
    first_pair = np.repeat(np.cumsum(n_worse) - n_worse, n_worse)
    worse = np.repeat(first_worse, n_worse) + np.arange(better.size) - first_pair
    # 3. Go back to the rows of the problem, and number the prompts that have a pair. The pairs are sorted by prompt.
    prompt_of_pair = prompt_of_reply[order[better]]
    is_first = np.diff(prompt_of_pair, prepend=-1) > 0
    return ComparisonPairs(
        rows[order[better]].astype(np.int32),
        rows[order[worse]].astype(np.int32),
        margins[order[better]],
        ranks[order[better]],
        np.cumsum(is_first, dtype=np.int32) - 1,
        [prompt_ids[prompt] for prompt in prompt_of_pair[is_first]],
    )


def held_out_prompts(pairs: ComparisonPairs, fraction: float) -> BoolArray:
    """Returns which prompts are held out from the fit, bool[prompt_ids]. All pairs of a prompt are on the same side.

    Args:
        pairs: The pairs.
        fraction: Expected share of held-out prompts, in [0, 1].
    """
    return np.array([is_held_out(prompt_id, fraction) for prompt_id in pairs.prompt_ids], dtype=np.bool_)


def spread_within_prompts(problem: FitProblem, pairs: ComparisonPairs) -> float:
    """Returns the spread of R_rm within prompts: the pooled standard deviation of the scores of a prompt's replies.

    Margins and the ridge are in units of this spread, so that another scale of R_rm gives the same order.

    Args:
        problem: The scores.
        pairs: The pairs whose replies count.

    Returns:
        The spread, above 0; 1 if R_rm gives all replies of each prompt the same score.
    """
    prompt_of_row = np.full(problem.r_rm.size, -1, dtype=np.int32)
    prompt_of_row[pairs.better] = pairs.prompts
    prompt_of_row[pairs.worse] = pairs.prompts
    rows = np.flatnonzero(prompt_of_row >= 0)
    prompts = prompt_of_row[rows]
    counts = np.bincount(prompts, minlength=len(pairs.prompt_ids))
    means = np.bincount(prompts, problem.r_rm[rows], len(pairs.prompt_ids)) / np.maximum(counts, 1)
    squares = float(((problem.r_rm[rows] - means[prompts]) ** 2).sum())
    spread = float(np.sqrt(squares / max(1, rows.size - len(pairs.prompt_ids))))
    largest = float(np.abs(problem.r_rm[rows]).max(initial=0.0))
    # Equal scores can have different means by rounding.
    return spread if spread > 1e-9 * largest else 1.0


def _numbers(values: Sequence[str], known: Sequence[str]) -> IntArray:
    """Returns the index of each value in `known`, int32[values]."""
    index = {value: number for number, value in enumerate(known)}
    return np.fromiter(map(index.__getitem__, values), dtype=np.int32, count=len(values))


def _check_labels(problem: FitProblem, rank_of_label: dict[str, int]) -> None:
    unranked = sorted(set(problem.labels) - set(rank_of_label))
    if unranked:
        raise InputError(
            f"the label `{unranked[0]}` is not ranked",
            where=f"response_types.{problem.response_type}.ranking",
            hint=f"Add the label to the ranking. Ranked labels: {', '.join(rank_of_label)}.",
        )
    for label, margin in problem.margins.items():
        if not margin >= 0:
            raise InputError(
                f"the margin of `{label}` is {margin}, but must not be negative",
                where=f"response_types.{problem.response_type}.margins",
                hint="Use 0 or more.",
            )
