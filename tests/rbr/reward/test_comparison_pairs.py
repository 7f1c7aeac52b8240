"""The pairs of a fit, and the spread of R_rm, compared with loops over all replies."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.comparisons.prompt_sampling import is_held_out
from rbr.reward.comparison_pairs import (
    ComparisonPairs,
    comparison_pairs,
    complete_replies,
    held_out_prompts,
    spread_within_prompts,
)
from rbr.reward.fit_problems import FitProblem

RANKING = [["ideal"], ["bad", "odd"], ["worst"]]
RANKS = {label: rank for rank, labels in enumerate(RANKING) for label in labels}
NAN = float("nan")


@st.composite
def problems(draw: st.DrawFn) -> FitProblem:
    """Draws up to 20 replies to up to 5 prompts in any order; some have no grade or no score."""
    prompts = st.sampled_from(["b", "a", "B", "äö", "10", "9"])
    value = st.floats(-5, 5) | st.just(NAN)
    replies = draw(st.lists(st.tuples(prompts, st.sampled_from(list(RANKS)), value, value), max_size=20))
    names, labels, feature, r_rm = zip(*replies, strict=True) if replies else ((), (), (), ())
    return FitProblem(
        response_type="comply",
        feature_names=("feature",),
        prompt_ids=list(names),
        labels=list(labels),
        features=np.array(feature, dtype=np.float64).reshape(-1, 1),
        r_rm=np.array(r_rm, dtype=np.float64),
        ranking=RANKING,
        margins=draw(st.dictionaries(st.sampled_from(list(RANKS)), st.floats(0, 3))),
    )


def all_pairs(problem: FitProblem) -> ComparisonPairs:
    return comparison_pairs(problem, complete_replies(problem))


def by_loops(problem: FitProblem) -> list[tuple[int, int]]:
    """Returns all pairs of a better and a worse reply to the same prompt that both have all values."""
    is_complete = ~np.isnan(problem.features).any(axis=1) & ~np.isnan(problem.r_rm)
    return [
        (better, worse)
        for better, worse in product(range(len(problem.labels)), repeat=2)
        if is_complete[better]
        and is_complete[worse]
        and problem.prompt_ids[better] == problem.prompt_ids[worse]
        and RANKS[problem.labels[better]] < RANKS[problem.labels[worse]]
    ]


@settings(max_examples=150, deadline=None)
@given(problems())
def test_the_pairs_are_all_replies_of_different_rank_to_the_same_prompt(problem: FitProblem) -> None:
    pairs = all_pairs(problem)
    found = list(zip(pairs.better.tolist(), pairs.worse.tolist(), strict=True))
    assert sorted(found) == by_loops(problem)
    for index, (better, _) in enumerate(found):
        label = problem.labels[better]
        assert pairs.margins[index] == problem.margins.get(label, 1.0)
        assert pairs.ranks[index] == RANKS[label]
        assert pairs.prompt_ids[pairs.prompts[index]] == problem.prompt_ids[better]
    assert list(pairs.prompt_ids) == sorted({problem.prompt_ids[better] for better, _ in found})
    keys = [(pairs.prompts[index], pairs.ranks[index]) for index in range(len(pairs))]
    assert keys == sorted(keys)


@settings(max_examples=60, deadline=None)
@given(problems(), st.floats(0, 1))
def test_every_prompt_is_held_out_or_fitted_with_all_its_pairs(problem: FitProblem, fraction: float) -> None:
    pairs = all_pairs(problem)
    held_out = held_out_prompts(pairs, fraction)
    assert held_out.tolist() == [is_held_out(name, fraction) for name in pairs.prompt_ids]
    parts = [pairs.of_prompts(held_out), pairs.of_prompts(~held_out)]
    assert sum(len(part) for part in parts) == len(pairs)
    for part, is_part_held_out in zip(parts, (True, False), strict=True):
        names = {problem.prompt_ids[row] for row in part.better}
        assert list(part.prompt_ids) == sorted(names)
        assert all(is_held_out(name, fraction) == is_part_held_out for name in names)
        assert [part.prompt_ids[index] for index in part.prompts] == [problem.prompt_ids[row] for row in part.better]


@settings(max_examples=100, deadline=None)
@given(problems())
def test_the_spread_is_the_pooled_standard_deviation_of_the_compared_replies(problem: FitProblem) -> None:
    compared = sorted({row for pair in by_loops(problem) for row in pair})
    names = sorted({problem.prompt_ids[row] for row in compared})
    squares = 0.0
    for name in names:
        scores = problem.r_rm[[row for row in compared if problem.prompt_ids[row] == name]]
        squares += float(((scores - scores.mean()) ** 2).sum())
    expected = np.sqrt(squares / (len(compared) - len(names))) if names else 0.0
    spread = spread_within_prompts(problem, all_pairs(problem))
    if expected > 1e-6:
        assert spread == pytest.approx(expected)
    assert spread > 0


@pytest.mark.parametrize("score", [0.0, 0.1, -7e5, 3e-12])
def test_the_spread_of_equal_scores_is_one(score: float) -> None:
    problem = FitProblem(
        response_type="comply",
        feature_names=("feature",),
        prompt_ids=["p"] * 3,
        labels=["ideal", "bad", "worst"],
        features=np.zeros((3, 1)),
        r_rm=np.full(3, score),
        ranking=RANKING,
        margins={},
    )
    assert spread_within_prompts(problem, all_pairs(problem)) == 1.0
    one_differs = replace(problem, r_rm=np.array([score, score, score + 2.0]))
    assert spread_within_prompts(one_differs, all_pairs(one_differs)) == pytest.approx(np.sqrt(4 / 3), rel=1e-6)


def test_replies_that_are_in_no_pair_do_not_count_for_the_spread() -> None:
    problem = FitProblem(
        response_type="comply",
        feature_names=("feature",),
        prompt_ids=["p", "p", "alone", "same rank", "same rank"],
        labels=["ideal", "worst", "ideal", "bad", "odd"],
        features=np.zeros((5, 1)),
        r_rm=np.array([0.0, 2.0, 500.0, -90.0, 90.0]),
        ranking=RANKING,
        margins={},
    )
    assert spread_within_prompts(problem, all_pairs(problem)) == pytest.approx(np.sqrt(2))
