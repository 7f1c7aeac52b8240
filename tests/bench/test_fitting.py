"""The benchmark of the fit on tiny sizes: made-up problems, the comparison, and the JSON line."""

import json

import numpy as np
import pytest

from bench import fitting
from rbr.rulebook import load_behavior
from rbr.rulebook.parts import SIGN_VALUES

BEHAVIOR = load_behavior(fitting.BEHAVIOR)
REPLIES_PER_PROMPT = sum(fitting.REPLIES_PER_LABEL)


@pytest.mark.parametrize("response_type", fitting.RELEASED_PROMPTS)
def test_a_made_up_problem_has_graded_replies_whose_best_the_reward_model_likes_least(response_type: str) -> None:
    problem = fitting.made_up_problem(BEHAVIOR, response_type, n_prompts=30, seed=0)
    again = fitting.made_up_problem(BEHAVIOR, response_type, n_prompts=30, seed=0)
    np.testing.assert_array_equal(problem.features, again.features)
    assert len(problem.labels) == 30 * REPLIES_PER_PROMPT
    n_classes = len(BEHAVIOR.class_names(response_type))
    np.testing.assert_allclose(problem.features[:, :n_classes].sum(axis=1), 1)
    labels = np.array(problem.labels)
    by_label = {label: problem.r_rm[labels == label].mean() for label in fitting.LABELS}
    assert by_label["best"] < by_label["middle"] < by_label["worst"]
    assert problem.features[labels == "best", 0].mean() > problem.features[labels == "worst", 0].mean()


def test_a_constrained_fit_of_a_made_up_problem_respects_order_and_signs() -> None:
    problem = fitting.made_up_problem(BEHAVIOR, "hard_refusal", n_prompts=10, seed=0)
    result = fitting.fit_ours(problem, "order_and_signs")
    assert result.n_pairs == 96 * result.n_prompts
    assert result.order_lead is not None and result.order_lead > 0
    assert not (result.weights * [SIGN_VALUES[sign] for sign in problem.signs] < 0).any()


def test_the_exact_fit_has_a_smaller_loss_than_a_few_gradient_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fitting, "RELEASED_PROMPTS", {"comply": 6, "hard_refusal": 4})
    monkeypatch.setattr(fitting, "STEPS", 20)
    monkeypatch.setattr(fitting, "BOOTSTRAP", 2)
    figures = fitting.compare_with_published(BEHAVIOR, repeats=1, authors=None)
    assert 0 < figures["objective_ours"] < figures["objective_reference"]
    assert figures["ratio_5933"] > 0 and figures["constrained_factor"] > 0


def test_the_last_line_of_the_big_fit_is_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fitting, "BIG_PROMPTS", 20)
    monkeypatch.setattr("sys.argv", ["fitting", "--big-only"])
    fitting.main()
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{20 * REPLIES_PER_PROMPT} replies, ")
    figures = json.loads(last)
    assert set(figures) == {"seconds_100k", "rss_mb_100k", "constrained_factor_100k"}
    assert all(value > 0 for value in figures.values())
