"""Weight fitting: which pairs are compared, what the weights achieve, and what does not change them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbr.classes.features import FeatureMap
from rbr.conversation import split_of
from rbr.errors import InputError
from rbr.profile import Constraints
from rbr.reward.fit import fit
from rbr.reward.fit_problems import FitProblem
from rbr.reward.fit_result import FitResult
from rbr.rulebook import compile_rules
from tests.rbr.reward.hostile_data import hostile_problem

RANKING = [["ideal"], ["bad", "odd"], ["worst"]]
SETTINGS = {"l2": 0.01, "held_out_fraction": 0.0, "bootstrap": 0, "seed": 0}

Reply = tuple[str, str, Sequence[float], float]


def problem(replies: Sequence[Reply], margins: Mapping[str, float] | None = None) -> FitProblem:
    """Returns a fit problem with these replies; a reply is prompt, label, features and R_rm."""
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
    """Returns a fit problem with noisy features, in which R_rm prefers the worse replies."""
    rng = np.random.default_rng(seed)
    ranks = {"ideal": 0, "bad": 1, "odd": 1, "worst": 2}
    return problem(
        [
            (f"p{prompt}", label, np.eye(3)[rank] + rng.normal(0, 0.3, 3), rank + rng.normal())
            for prompt in range(prompts)
            for label, rank in ranks.items()
        ]
    )


def subset(whole: FitProblem, rows: Sequence[int]) -> FitProblem:
    return replace(
        whole,
        prompt_ids=[whole.prompt_ids[row] for row in rows],
        labels=[whole.labels[row] for row in rows],
        features=whole.features[list(rows)],
        r_rm=whole.r_rm[list(rows)],
    )


def fitted(fit_problem: FitProblem, **changes: Any) -> FitResult:
    return fit(fit_problem, **{**SETTINGS, **changes})


def r_rbr(fit_problem: FitProblem, result: FitResult) -> np.ndarray:
    return fit_problem.features @ result.weights


def test_two_replies_of_different_rank_to_the_same_prompt_are_a_pair() -> None:
    replies: list[Reply] = [("p", label, [0.0], 0.0) for label in ("ideal", "bad", "odd", "worst", "worst")]
    # Pairs by better reply: ideal 4, bad 2, odd 2. The labels bad and odd have the same rank.
    assert fitted(problem(replies)).n_pairs == 8


def test_replies_to_different_prompts_are_never_compared() -> None:
    with pytest.raises(InputError, match="no prompt has two replies of different rank"):
        fitted(problem([("p", "ideal", [1.0], 0.0), ("q", "worst", [0.0], 0.0)]))


@pytest.mark.parametrize(
    ("features", "scores", "counts", "hint"),
    [
        ([0.0, 0.0, 0.0], [0.0, 0.0, 0.0], "0 lack a grade and 0 lack a score", "Raise synthesis.candidates"),
        ([np.nan, np.nan, 0.0], [np.nan, 0.0, 0.0], "2 lack a grade and 1 lack a score", "answers of the grader"),
        ([0.0, np.nan, 0.0], [np.nan, np.nan, 0.0], "1 lack a grade and 2 lack a score", "scores of the reward model"),
    ],
    ids=["equal ranks", "grades are missing", "scores are missing"],
)
def test_an_error_without_pairs_counts_what_is_missing_and_advises_on_the_first_cause(
    features: list[float], scores: list[float], counts: str, hint: str
) -> None:
    labels = ["ideal"] * 3 if hint.startswith("Raise") else ["ideal", "ideal", "worst"]
    rows = zip(labels, features, scores, strict=True)
    with pytest.raises(InputError) as caught:
        fitted(problem([("p", label, [feature], score) for label, feature, score in rows]))
    assert f"of 3 replies, {counts}" in caught.value.what
    assert hint in caught.value.hint


def test_held_out_pairs_without_all_grades_and_scores_are_counted_and_left_out() -> None:
    replies: list[Reply] = [
        (f"p{n}", label, [float(label == "ideal")], 0.0) for n in range(20) for label in ("ideal", "worst", "worst")
    ]
    whole = fitted(problem(replies), held_out_fraction=0.5).errors
    features = [[np.nan] if n % 3 == 1 else features for n, (_, _, features, _) in enumerate(replies)]
    missing = fitted(problem([(*reply[:2], f, 0.0) for reply, f in zip(replies, features, strict=True)]),
                     held_out_fraction=0.5).errors  # fmt: skip
    assert (whole.n_left_out, missing.n_pairs, missing.n_left_out) == (0, whole.n_pairs / 2, whole.n_pairs / 2)


def test_separable_replies_end_up_one_margin_apart() -> None:
    separable = problem([("p", "ideal", [1.0], 0.0), ("p", "worst", [0.0], 0.5)])
    result = fitted(separable, l2=1e-6)
    # R_rm prefers the worse reply by 0.5. The margin of 1 is in units of the spread, so the feature contributes both.
    assert result.spread == pytest.approx(0.5 / np.sqrt(2))
    assert result.weights[0] == pytest.approx(0.5 + result.spread, rel=1e-6)
    assert result.past_margin == 1.0


def test_weights_correct_no_more_than_the_reward_model_needs() -> None:
    right_already = problem([("p", "ideal", [1.0], 3.0), ("p", "worst", [0.0], 0.5)])
    np.testing.assert_array_equal(fitted(right_already).weights, [0.0])


def test_the_label_of_the_better_reply_gives_the_margin_and_the_default_is_one() -> None:
    replies: list[Reply] = [
        ("p", "ideal", [1.0, 0.0], 0.0),
        ("p", "worst", [0.0, 0.0], 0.0),
        ("q", "bad", [0.0, 1.0], 0.0),
        ("q", "worst", [0.0, 0.0], 0.0),
    ]
    result = fitted(problem(replies, {"ideal": 2.5, "worst": 9.0}), l2=1e-6)
    assert result.spread == 1.0  # R_rm gives all replies the same score.
    np.testing.assert_allclose(result.weights, [2.5, 1.0], rtol=1e-6)


@pytest.mark.parametrize("factor", [0.1, 1.0, 20.0])
def test_a_margin_is_in_units_of_the_spread_of_the_reward_model(factor: float) -> None:
    replies: list[Reply] = [("p", "ideal", [1.0], 0.0), ("p", "worst", [0.0], factor)]
    for margin in (0.0, 0.5, 3.0):
        result = fitted(problem(replies, {"ideal": margin}), l2=1e-6)
        assert result.spread == pytest.approx(factor / np.sqrt(2))
        assert result.weights[0] == pytest.approx(factor + margin * result.spread, rel=1e-5)


def test_the_objective_is_the_mean_hinge_over_pairs_plus_the_ridge() -> None:
    original = noisy(8)
    result = fitted(original, l2=0.3)
    total = (original.r_rm + r_rbr(original, result)) / result.spread
    rank = {"ideal": 0, "bad": 1, "odd": 1, "worst": 2}
    hinges = [
        max(0.0, 1 + total[worse] - total[better])
        for better in range(len(total))
        for worse in range(len(total))
        if original.prompt_ids[better] == original.prompt_ids[worse]
        and rank[original.labels[better]] < rank[original.labels[worse]]
    ]
    assert result.n_pairs == len(hinges)
    assert result.hinge_loss == pytest.approx(np.mean(hinges))
    assert result.past_margin == pytest.approx(np.mean(np.array(hinges) < 1e-9))
    weights = result.weights / result.spread
    assert result.primal == pytest.approx(np.mean(hinges) + 0.15 * weights @ weights)


def test_the_certificate_is_stored_relative_to_the_objective() -> None:
    result = fitted(noisy())
    assert result.gap == pytest.approx(max(0.0, result.primal - result.dual) / result.primal)
    assert result.gap < 1e-9
    row = result.certificate_row()
    assert (row["primal"], row["dual"], row["gap"]) == (result.primal, result.dual, result.gap)


def test_a_stronger_ridge_gives_smaller_weights_down_to_zero() -> None:
    lengths = [float(np.linalg.norm(fitted(noisy(), l2=l2).weights)) for l2 in (1e-4, 1e-1, 10.0, 1e6)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > 1 and lengths[-1] < 1e-5


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(-100, 100), min_size=12, max_size=12))
def test_adding_a_constant_to_all_scores_of_a_prompt_changes_nothing(offsets: list[float]) -> None:
    original = noisy(12)
    shift = np.repeat(offsets, 4)
    shifted = fitted(replace(original, r_rm=original.r_rm + shift))
    np.testing.assert_allclose(shifted.weights, fitted(original).weights, atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.floats(-3, 3), st.sampled_from(["order_and_signs", "none"]), st.integers(0, 5))
def test_scaling_r_rm_scales_the_weights_and_changes_nothing_else(
    log_factor: float, constraints: Constraints, seed: int
) -> None:
    factor = 10.0**log_factor
    diagram = compile_rules({"good": "a and not b", "fair": "a and b", "bad": "not a"}, ["good", "fair", "bad"])
    original = hostile_problem(FeatureMap(diagram, ("a", "b", "x"), {}), {"x": "undesired"}, seed)
    settings_in_use = {"held_out_fraction": 0.3, "bootstrap": 3, "constraints": constraints}
    plain = fitted(original, **settings_in_use)
    scaled = fitted(replace(original, r_rm=factor * original.r_rm), **settings_in_use)
    size = factor * np.abs(plain.weights).max()
    np.testing.assert_allclose(scaled.weights, factor * plain.weights, atol=1e-6 * size)
    np.testing.assert_allclose(scaled.low, factor * plain.low, atol=1e-3 * size)
    np.testing.assert_allclose(scaled.high, factor * plain.high, atol=1e-3 * size)
    assert scaled.spread == pytest.approx(factor * plain.spread)
    assert scaled.primal == pytest.approx(plain.primal, rel=1e-8)
    assert (scaled.gap <= 1e-8, plain.gap <= 1e-8) == (True, True)
    assert scaled.errors == plain.errors
    leads = [factor * gap.lead for gap in plain.gaps]
    assert [gap.lead for gap in scaled.gaps] == pytest.approx(leads, abs=1e-6 * size)


@settings(max_examples=15, deadline=None)
@given(st.permutations(range(12)), st.randoms())
def test_the_names_and_the_order_of_prompts_do_not_matter(places: list[int], random: Random) -> None:
    original = noisy(12)
    rows = [4 * place + reply for place in places for reply in range(4)]
    random.shuffle(rows)
    names = dict(zip([f"p{prompt}" for prompt in range(12)], random.sample(range(1000), 12), strict=True))
    moved = subset(original, rows)
    renamed = replace(moved, prompt_ids=[f"q{names[name]}" for name in moved.prompt_ids])
    result, expected = fitted(renamed), fitted(original)
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-7)
    assert (result.n_prompts, result.n_pairs) == (expected.n_prompts, expected.n_pairs)
    assert result.primal == pytest.approx(expected.primal)


def test_a_feature_that_is_constant_within_prompts_gets_no_weight() -> None:
    original = noisy()
    constant = replace(
        original,
        feature_names=(*original.feature_names, "topic"),
        features=np.column_stack([original.features, np.repeat(np.arange(30.0), 4)]),
    )
    assert fitted(constant).weights[3] == pytest.approx(0, abs=1e-12)


def test_the_order_of_the_replies_does_not_matter() -> None:
    original = noisy()
    order = np.random.default_rng(1).permutation(len(original.labels))
    shuffled = subset(original, order.tolist())
    np.testing.assert_allclose(fitted(shuffled).weights, fitted(original).weights, atol=1e-6)


@pytest.mark.parametrize("missing", ["grade", "score"])
def test_a_reply_with_a_missing_grade_or_score_is_left_out_and_counted(missing: str) -> None:
    original = noisy()
    features, r_rm = original.features.copy(), original.r_rm.copy()
    if missing == "grade":
        features[1, 2] = np.nan
    else:
        r_rm[1] = np.nan
    without = subset(original, [row for row in range(len(original.labels)) if row != 1])
    result, expected = fitted(replace(original, features=features, r_rm=r_rm)), fitted(without)
    assert (result.n_incomplete_replies, expected.n_incomplete_replies) == (1, 0)
    assert result.n_pairs == expected.n_pairs
    assert result.spread == pytest.approx(expected.spread)
    np.testing.assert_allclose(result.weights, expected.weights, atol=1e-8)


def test_whole_prompts_are_held_out_depending_on_their_id_alone() -> None:
    original = noisy(200)
    result = fitted(original, held_out_fraction=0.25)
    assert result.n_prompts + result.n_held_out == 200
    assert 30 < result.n_held_out < 70
    assert result.n_pairs == 5 * result.n_prompts
    assert result.errors.n_pairs == 3 * result.n_held_out
    halves = [subset(original, range(400)), subset(original, range(400, 800))]
    parts = [fitted(half, held_out_fraction=0.25).n_held_out for half in halves]
    assert sum(parts) == result.n_held_out


def is_held_out(name: str, fraction: float) -> bool:
    """Returns whether a fit holds the prompt out: a fit of this prompt alone then fails."""
    alone = problem([(name, "ideal", [1.0], 0.0), (name, "worst", [0.0], 0.0)])
    try:
        fitted(alone, held_out_fraction=fraction)
    except InputError:
        return True
    return False


def test_held_out_prompts_do_not_change_the_weights() -> None:
    original = noisy(40)
    held_out = np.array([is_held_out(name, 0.25) for name in original.prompt_ids])
    assert 0 < held_out.sum() < held_out.size
    changed = replace(original, r_rm=np.where(held_out, -original.r_rm, original.r_rm))
    before, after = (fitted(each, held_out_fraction=0.25) for each in (original, changed))
    np.testing.assert_array_equal(before.weights, after.weights)
    assert before.errors.rm != after.errors.rm


def test_the_held_out_split_is_independent_of_the_test_split() -> None:
    training = [name for name in (f"p{index}" for index in range(120)) if split_of(name, 0.5) == "train"]
    held_out = sum(is_held_out(name, 0.5) for name in training)
    assert 0.3 < held_out / len(training) < 0.7


def test_error_rates_count_the_replies_that_get_at_least_as_much_reward_as_the_ideal_one() -> None:
    names = [f"p{index}" for index in range(40)]
    first, second, *_ = (name for name in names if is_held_out(name, 0.5))
    kept = next(name for name in names if not is_held_out(name, 0.5))
    replies: list[Reply] = [
        # This pair gives the feature a weight of 2: R_rm prefers the worse reply by 1, and the margin is 1.
        (kept, "ideal", [1.0], 0.0),
        (kept, "worst", [0.0], 1.0),
        # R_rm = 1, R_rbr = 1, R_tot = 2. The replies below are compared with this reply.
        (first, "ideal", [0.5], 1.0),
        # R_rm is wrong, because of a tie. R_rbr = 0 and R_tot = 1 are right.
        (first, "bad", [0.0], 1.0),
        # R_rm is wrong. R_rbr = 0.4 and R_tot = 1.6 are right.
        (first, "odd", [0.2], 1.2),
        # R_rbr = 1.8 and R_tot = 2.3 are wrong. R_rm is right.
        (first, "worst", [0.9], 0.5),
        # R_rm and R_tot = 2.7 are wrong. R_rbr = 0.2 is right.
        (first, "worst", [0.1], 2.5),
        # A prompt without an ideal reply does not count.
        (second, "bad", [0.0], 0.0),
        (second, "worst", [1.0], 5.0),
    ]
    # Two scores that differ by 1 have a spread of 1 / sqrt(2), so this margin is 1 in units of R_rm.
    result = fitted(problem(replies, {"ideal": np.sqrt(2)}), held_out_fraction=0.5, l2=1e-9)
    assert result.weights[0] == pytest.approx(2.0)
    errors = result.errors
    assert (result.n_held_out, errors.n_pairs) == (2, 4)
    assert (errors.rm, errors.rbr, errors.total) == (0.75, 0.25, 0.5)


def test_without_held_out_prompts_there_are_no_error_rates() -> None:
    errors = fitted(noisy()).errors
    assert (errors.n_pairs, errors.rm, errors.rbr, errors.total) == (0, None, None, None)


def test_intervals_contain_the_weights_and_repeat_for_the_same_seed() -> None:
    first = fitted(noisy(), bootstrap=30)
    again, other = fitted(noisy(), bootstrap=30), fitted(noisy(), bootstrap=30, seed=1)
    np.testing.assert_array_equal(first.low, again.low)
    np.testing.assert_array_equal(first.high, again.high)
    assert not np.array_equal(first.low, other.low)
    assert (first.low < first.weights).all() and (first.weights < first.high).all()


@pytest.mark.parametrize("constraints", ["order_and_signs", "none"])
def test_fitting_twice_gives_the_same_bytes(constraints: Constraints) -> None:
    diagram = compile_rules({"good": "a and not b", "fair": "a and b", "bad": "not a"}, ["good", "fair", "bad"])
    original = hostile_problem(FeatureMap(diagram, ("b", "x"), {}), {}, seed=0, prompts=60)
    first, second = (fitted(original, bootstrap=5, constraints=constraints) for _ in range(2))
    for name in ("weights", "low", "high"):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()
    assert first.certificate_row() == second.certificate_row()


def test_the_ends_of_the_intervals_have_the_sign_of_their_feature() -> None:
    diagram = compile_rules({"good": "a and not b", "bad": "not a or b"}, ["good", "bad"])
    original = hostile_problem(FeatureMap(diagram, ("a", "b", "x"), {}), {"x": "undesired"}, seed=0)
    result = fitted(original, bootstrap=10)
    ends = {name: (low, high) for name, low, high in zip(result.feature_names, result.low, result.high, strict=True)}
    assert ends["proposition:a"][0] >= 0
    assert ends["proposition:b"][1] <= 0
    assert ends["proposition:x"][1] <= 0


def test_intervals_narrow_with_more_prompts() -> None:
    few, many = (fitted(noisy(prompts), bootstrap=40) for prompts in (15, 240))
    assert ((many.high - many.low) < 0.6 * (few.high - few.low)).all()


def test_intervals_resample_prompts_and_not_pairs() -> None:
    # Two equal prompts: every resample gives the same fit, even with a strong ridge.
    twins: list[Reply] = [
        (prompt, label, features, 0.0)
        for prompt in ("p", "q")
        for label, features in (("ideal", [1.0]), ("bad", [0.4]), ("worst", [0.0]))
    ]
    result = fitted(problem(twins), l2=2.0, bootstrap=10)
    np.testing.assert_allclose(result.low, result.weights, atol=1e-4)
    np.testing.assert_allclose(result.high, result.weights, atol=1e-4)


def test_without_bootstrap_the_interval_is_missing_and_not_a_number() -> None:
    rows = fitted(noisy()).weight_rows()
    assert [row["feature"] for row in rows] == ["f0", "f1", "f2"]
    assert {(row["low"], row["high"]) for row in rows} == {(None, None)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"l2": 0.0}, "l2 is 0.0"),
        ({"l2": float("nan")}, "l2 is nan"),
        ({"held_out_fraction": 1.0}, "all 30 prompts with comparisons are held out"),
    ],
)
def test_unusable_settings_are_rejected_with_a_hint(change: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message) as raised:
        fitted(noisy(), **change)
    assert raised.value.hint


def test_labels_without_a_rank_and_negative_margins_are_rejected() -> None:
    replies: list[Reply] = [("p", "ideal", [1.0], 0.0), ("p", "other", [0.0], 0.0)]
    with pytest.raises(InputError, match="the label `other` is not ranked"):
        fitted(problem(replies))
    with pytest.raises(InputError, match="the margin of `ideal` is -1"):
        fitted(problem(replies[:1], {"ideal": -1.0}))


def test_arrays_of_unequal_length_are_rejected() -> None:
    with pytest.raises(ValueError, match="one entry per reply"):
        replace(noisy(), r_rm=np.zeros(3))
    with pytest.raises(ValueError, match="features must have the shape"):
        replace(noisy(), feature_names=("f0",))
    with pytest.raises(ValueError, match="signs must be empty or have one entry per feature"):
        replace(noisy(), signs=("free",))
