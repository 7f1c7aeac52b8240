"""Weight fitting: what the pairs are, what the weights must achieve, and what must not change them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.conversation import split_of
from rbr.errors import InputError
from rbr.reward.fit import FitProblem, FitResult, fit

RANKING = [["ideal"], ["bad", "odd"], ["worst"]]
SETTINGS = {"l2": 0.01, "held_out_fraction": 0.0, "bootstrap": 0, "seed": 0}

Reply = tuple[str, str, Sequence[float], float]


def problem(replies: Sequence[Reply], margins: Mapping[str, float] | None = None) -> FitProblem:
    """From rows of prompt, label, features and R_rm."""
    prompts, labels, features, r_rm = zip(*replies, strict=True)
    return FitProblem(
        response_type="hard_refusal",
        feature_names=tuple(f"f{index}" for index in range(len(features[0]))),
        prompt_ids=prompts,
        labels=labels,
        features=np.array(features, dtype=np.float64),
        r_rm=np.array(r_rm, dtype=np.float64),
        ranking=RANKING,
        margins=margins or {},
    )


def noisy(prompts: int = 30, seed: int = 0) -> FitProblem:
    """Replies whose features tell their label but for noise, and whose reward model prefers the wrong ones."""
    rng = np.random.default_rng(seed)
    place = {"ideal": 0, "bad": 1, "odd": 1, "worst": 2}
    return problem(
        [
            (f"p{prompt}", label, np.eye(3)[at] + rng.normal(0, 0.3, 3), at + rng.normal())
            for prompt in range(prompts)
            for label, at in place.items()
        ]
    )


def subset(some: FitProblem, rows: Sequence[int]) -> FitProblem:
    return replace(
        some,
        prompt_ids=[some.prompt_ids[row] for row in rows],
        labels=[some.labels[row] for row in rows],
        features=some.features[list(rows)],
        r_rm=some.r_rm[list(rows)],
    )


def fitted(given_problem: FitProblem, **changes: float) -> FitResult:
    return fit(given_problem, **{**SETTINGS, **changes})


def r_rbr(given_problem: FitProblem, result: FitResult) -> np.ndarray:
    return given_problem.features @ result.weights


def test_every_two_replies_of_different_rank_to_one_prompt_are_a_pair() -> None:
    replies: list[Reply] = [("p", label, [0.0], 0.0) for label in ("ideal", "bad", "odd", "worst", "worst")]
    # ideal: 4, bad: 2, odd: 2; bad and odd are of one rank, and so are the two worst.
    assert fitted(problem(replies)).n_pairs == 8


def test_replies_to_different_prompts_are_never_compared() -> None:
    with pytest.raises(InputError, match="no prompt has two replies of different rank"):
        fitted(problem([("p", "ideal", [1.0], 0.0), ("q", "worst", [0.0], 0.0)]))


def test_separable_replies_end_a_margin_apart() -> None:
    separable = problem([("p", "ideal", [1.0], 0.0), ("p", "worst", [0.0], 0.5)])
    # R_rm has it wrong by a half; with the margin of 1 the feature has to earn 1.5.
    assert fitted(separable, l2=1e-6).weights[0] == pytest.approx(1.5, rel=1e-6)


def test_weights_correct_no_more_than_the_reward_model_needs() -> None:
    right_already = problem([("p", "ideal", [1.0], 3.0), ("p", "worst", [0.0], 0.5)])
    np.testing.assert_array_equal(fitted(right_already).weights, [0.0])


def test_the_margin_is_that_of_the_better_label_and_one_where_not_given() -> None:
    replies: list[Reply] = [
        ("p", "ideal", [1.0, 0.0], 0.0),
        ("p", "worst", [0.0, 0.0], 0.0),
        ("q", "bad", [0.0, 1.0], 0.0),
        ("q", "worst", [0.0, 0.0], 0.0),
    ]
    result = fitted(problem(replies, {"ideal": 2.5, "worst": 9.0}), l2=1e-6)
    np.testing.assert_allclose(result.weights, [2.5, 1.0], rtol=1e-6)


def test_the_objective_is_the_mean_hinge_over_pairs_plus_the_ridge() -> None:
    some = noisy(8)
    result = fitted(some, l2=0.3)
    total = some.r_rm + r_rbr(some, result)
    rank = {"ideal": 0, "bad": 1, "odd": 1, "worst": 2}
    hinges = [
        max(0.0, 1 + total[worse] - total[better])
        for better in range(len(total))
        for worse in range(len(total))
        if some.prompt_ids[better] == some.prompt_ids[worse] and rank[some.labels[better]] < rank[some.labels[worse]]
    ]
    assert result.n_pairs == len(hinges)
    assert result.primal == pytest.approx(np.mean(hinges) + 0.15 * result.weights @ result.weights)


def test_the_certificate_is_stored_relative_to_the_objective() -> None:
    result = fitted(noisy())
    assert result.gap == pytest.approx(max(0.0, result.primal - result.dual) / result.primal)
    assert result.gap < 1e-9
    row = result.certificate_row()
    assert (row["primal"], row["dual"], row["gap"]) == (result.primal, result.dual, result.gap)


def test_a_stronger_ridge_leaves_smaller_weights_and_at_last_none() -> None:
    lengths = [float(np.linalg.norm(fitted(noisy(), l2=l2).weights)) for l2 in (1e-4, 1e-1, 10.0, 1e6)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > 1 and lengths[-1] < 1e-5


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=12, max_size=12))
def test_a_prompt_that_the_reward_model_likes_as_such_changes_nothing(offsets: list[float]) -> None:
    some = noisy(12)
    shift = np.repeat(offsets, 4)
    shifted = fitted(replace(some, r_rm=some.r_rm + shift))
    np.testing.assert_allclose(shifted.weights, fitted(some).weights, atol=1e-6)


def test_a_feature_that_is_constant_within_prompts_gets_no_weight() -> None:
    some = noisy()
    constant = replace(
        some,
        feature_names=(*some.feature_names, "topic"),
        features=np.column_stack([some.features, np.repeat(np.arange(30.0), 4)]),
    )
    assert fitted(constant).weights[3] == pytest.approx(0, abs=1e-12)


def test_the_order_of_the_replies_does_not_matter() -> None:
    some = noisy()
    order = np.random.default_rng(1).permutation(len(some.labels))
    shuffled = subset(some, order.tolist())
    np.testing.assert_allclose(fitted(shuffled).weights, fitted(some).weights, atol=1e-6)


@pytest.mark.parametrize("missing", ["grade", "score"])
def test_a_reply_with_a_missing_grade_or_score_is_left_out_and_counted(missing: str) -> None:
    some = noisy()
    features, r_rm = some.features.copy(), some.r_rm.copy()
    if missing == "grade":
        features[1, 2] = np.nan
    else:
        r_rm[1] = np.nan
    without = subset(some, [row for row in range(len(some.labels)) if row != 1])
    result, expected = fitted(replace(some, features=features, r_rm=r_rm)), fitted(without)
    assert (result.n_left_out, expected.n_left_out) == (1, 0)
    assert result.n_pairs == expected.n_pairs
    np.testing.assert_array_equal(result.weights, expected.weights)


def test_prompts_are_held_out_whole_and_by_their_name_alone() -> None:
    some = noisy(200)
    result = fitted(some, held_out_fraction=0.25)
    assert result.n_prompts + result.n_held_out == 200
    assert 30 < result.n_held_out < 70
    assert result.n_pairs == 5 * result.n_prompts
    assert result.errors.n_pairs == 3 * result.n_held_out
    halves = [subset(some, range(400)), subset(some, range(400, 800))]
    parts = [fitted(half, held_out_fraction=0.25).n_held_out for half in halves]
    assert sum(parts) == result.n_held_out


def is_held_out(name: str, fraction: float) -> bool:
    """A prompt that stands alone leaves nothing to fit if it is held out."""
    alone = problem([(name, "ideal", [1.0], 0.0), (name, "worst", [0.0], 0.0)])
    try:
        fitted(alone, held_out_fraction=fraction)
    except InputError:
        return True
    return False


def test_held_out_prompts_do_not_touch_the_weights() -> None:
    some = noisy(40)
    held_out = np.array([is_held_out(name, 0.25) for name in some.prompt_ids])
    assert 0 < held_out.sum() < held_out.size
    changed = replace(some, r_rm=np.where(held_out, -some.r_rm, some.r_rm))
    before, after = (fitted(each, held_out_fraction=0.25) for each in (some, changed))
    np.testing.assert_array_equal(before.weights, after.weights)
    assert before.errors.rm != after.errors.rm


def test_prompts_of_the_training_split_are_held_out_as_often_as_any() -> None:
    training = [name for name in (f"p{index}" for index in range(120)) if split_of(name, 0.5) == "train"]
    held_out = sum(is_held_out(name, 0.5) for name in training)
    assert 0.3 < held_out / len(training) < 0.7


def test_error_rates_count_the_replies_paid_at_least_as_much_as_the_ideal_one() -> None:
    names = [f"p{index}" for index in range(40)]
    first, second, *_ = (name for name in names if is_held_out(name, 0.5))
    kept = next(name for name in names if not is_held_out(name, 0.5))
    replies: list[Reply] = [
        # Gives the feature a weight of 2: the ideal reply has a lead of 1 to make up and a margin of 1 to keep.
        (kept, "ideal", [1.0], 0.0),
        (kept, "worst", [0.0], 1.0),
        # R_rbr = 1, R_tot = 2.
        (first, "ideal", [0.5], 1.0),
        # Too much R_rm, by a tie; R_rbr = 0, R_tot = 1.
        (first, "bad", [0.0], 1.0),
        # Too much R_rm; R_rbr = 0.4, R_tot = 1.6.
        (first, "odd", [0.2], 1.2),
        # Too much R_rbr = 1.8 and R_tot = 2.3.
        (first, "worst", [0.9], 0.5),
        # Too much R_rm and R_tot = 2.7; R_rbr = 0.2.
        (first, "worst", [0.1], 2.5),
        # Without an ideal reply there is nothing to compare with.
        (second, "bad", [0.0], 0.0),
        (second, "worst", [1.0], 5.0),
    ]
    result = fitted(problem(replies), held_out_fraction=0.5, l2=1e-9)
    assert result.weights[0] == pytest.approx(2.0)
    errors = result.errors
    assert (result.n_held_out, errors.n_pairs) == (2, 4)
    assert (errors.rm, errors.rbr, errors.total) == (0.75, 0.25, 0.5)


def test_without_held_out_prompts_there_are_no_error_rates() -> None:
    errors = fitted(noisy()).errors
    assert (errors.n_pairs, errors.rm, errors.rbr, errors.total) == (0, None, None, None)


def test_intervals_hold_the_weights_and_repeat_for_the_same_seed() -> None:
    first = fitted(noisy(), bootstrap=30)
    again, other = fitted(noisy(), bootstrap=30), fitted(noisy(), bootstrap=30, seed=1)
    np.testing.assert_array_equal(first.low, again.low)
    np.testing.assert_array_equal(first.high, again.high)
    assert not np.array_equal(first.low, other.low)
    assert (first.low < first.weights).all() and (first.weights < first.high).all()


def test_intervals_narrow_with_more_prompts() -> None:
    few, many = (fitted(noisy(prompts), bootstrap=40) for prompts in (15, 240))
    assert ((many.high - many.low) < 0.6 * (few.high - few.low)).all()


def test_intervals_resample_prompts_and_not_pairs() -> None:
    # Whichever of two equal prompts is drawn, the refit is the fit, even under a strong ridge.
    twins: list[Reply] = [
        (prompt, label, features, 0.0)
        for prompt in ("p", "q")
        for label, features in (("ideal", [1.0]), ("bad", [0.4]), ("worst", [0.0]))
    ]
    result = fitted(problem(twins), l2=2.0, bootstrap=10)
    np.testing.assert_allclose(result.low, result.weights, atol=1e-8)
    np.testing.assert_allclose(result.high, result.weights, atol=1e-8)


def test_without_bootstrap_the_interval_is_missing_and_not_a_number() -> None:
    rows = fitted(noisy()).weight_rows()
    assert [row["feature"] for row in rows] == ["f0", "f1", "f2"]
    assert {(row["low"], row["high"]) for row in rows} == {(None, None)}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"l2": 0.0}, "l2 is 0.0"),
        ({"l2": float("nan")}, "l2 is nan"),
        ({"held_out_fraction": 1.0}, "all 30 prompts with comparisons are held out"),
    ],
)
def test_settings_that_cannot_be_met_are_refused_with_a_mend(change: dict[str, float], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint) as refusal:
        fitted(noisy(), **change)
    assert refusal.value.hint


def test_labels_without_a_rank_and_negative_margins_are_refused() -> None:
    replies: list[Reply] = [("p", "ideal", [1.0], 0.0), ("p", "other", [0.0], 0.0)]
    with pytest.raises(InputError, match="the label `other` is not ranked"):
        fitted(problem(replies))
    with pytest.raises(InputError, match="the margin of `ideal` is -1"):
        fitted(problem(replies[:1], {"ideal": -1.0}))


def test_frames_of_unequal_length_are_refused() -> None:
    with pytest.raises(ValueError, match="one entry per reply"):
        replace(noisy(), r_rm=np.zeros(3))
    with pytest.raises(ValueError, match="features must have the shape"):
        replace(noisy(), feature_names=("f0",))
