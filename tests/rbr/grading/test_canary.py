"""The canary: fixed questions, and the rule that tells a drift from noise."""

import numpy as np
import pytest

from rbr.grading.answers import Answer, Answers, Outcome
from rbr.grading.canary_probes import CONVERSATIONS, QUESTIONS, ask_probes
from rbr.grading.drift import Difference


class LengthGrader:
    """A grader whose answer depends on the text of the conversation and of the question."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def grade(self, conversations, questions, on_progress=None):
        self.asked += [(c[-1]["content"], q.text) for c in conversations for q in questions]
        values = [[1 / (1 + len(c[-1]["content"]) + len(q.text)) for q in questions] for c in conversations]
        return Answers.of(np.array(values))


def test_there_are_forty_different_probes() -> None:
    assert len(CONVERSATIONS) * len(QUESTIONS) == 40
    assert len(ask_probes(LengthGrader())) == 40


def test_every_probe_has_its_own_answer_in_both_orders() -> None:
    forward, backward = LengthGrader(), LengthGrader()
    first, again = ask_probes(forward), ask_probes(backward, reverse=True)
    assert {probe: answer.p_yes for probe, answer in first.items()} == {
        probe: answer.p_yes for probe, answer in again.items()
    }
    assert forward.asked == backward.asked[::-1]


def test_the_ids_of_the_probes_are_fixed() -> None:
    # The stored answers of earlier runs have these ids. Another text needs another id, and its answers start anew.
    assert list(ask_probes(LengthGrader()))[:2] == ["07de1affffa889d8", "09809431a0134ad8"]


@pytest.mark.parametrize(
    ("noise", "drift", "is_beyond"),
    [
        pytest.param(Difference(40, 0, 0.0, 0.0), Difference(40, 0, 0.0, 0.0), False, id="nothing moved"),
        pytest.param(Difference(40, 0, 0.0, 0.0), Difference(40, 0, 0.016, 0.004), False, id="a cached prompt"),
        pytest.param(Difference(40, 0, 0.0, 0.0), Difference(40, 0, 0.021, 0.001), True, id="one answer moved"),
        pytest.param(Difference(40, 0, 0.0, 0.0), Difference(40, 0, 0.015, 0.006), True, id="all answers moved a bit"),
        pytest.param(Difference(40, 0, 0.03, 0.003), Difference(40, 0, 0.08, 0.008), False, id="a noisy server"),
        pytest.param(Difference(40, 0, 0.03, 0.003), Difference(40, 0, 0.10, 0.008), True, id="beyond a noisy server"),
        pytest.param(Difference(38, 0, 0.0, 0.0), Difference(38, 2, 0.0, 0.0), False, id="two at the bar of min_mass"),
        pytest.param(Difference(37, 0, 0.0, 0.0), Difference(37, 3, 0.0, 0.0), True, id="three answers unreadable"),
        pytest.param(Difference(0, 0, 0.0, 0.0), Difference(0, 0, 0.0, 0.0), False, id="a grader that answers nothing"),
    ],
)
def test_a_drift_counts_only_beyond_the_noise(noise: Difference, drift: Difference, is_beyond: bool) -> None:
    assert drift.is_beyond(noise) is is_beyond


@pytest.mark.parametrize(
    ("noise", "is_of_one_judge"),
    [
        pytest.param(Difference(40, 0, 0.0, 0.0), True, id="the same answers"),
        pytest.param(Difference(40, 0, 0.062, 0.01), True, id="llama.cpp at 4 bits"),
        pytest.param(Difference(40, 0, 0.25, 0.05), True, id="at the bar"),
        pytest.param(Difference(40, 0, 0.251, 0.01), False, id="beyond the bar"),
        pytest.param(Difference(38, 2, 0.0, 0.0), True, id="two at the bar of min_mass"),
        pytest.param(Difference(20, 20, 0.0, 0.0), False, id="one of two models is unreadable"),
        pytest.param(Difference(0, 0, 0.0, 0.0), True, id="never asked"),
    ],
)
def test_a_noise_that_no_drift_could_exceed_is_not_that_of_one_judge(noise: Difference, is_of_one_judge: bool) -> None:
    assert noise.is_of_one_judge is is_of_one_judge
    if is_of_one_judge:
        assert Difference(40, 0, 1.0, 1.0).is_beyond(noise)


def test_only_probes_that_both_sets_answer_have_a_difference() -> None:
    first = {"a": Answer(Outcome.ANSWERED, 0.5), "b": Answer(Outcome.REFUSED), "c": Answer(Outcome.ANSWERED, 0.1)}
    second = {"a": Answer(Outcome.ANSWERED, 0.75), "b": Answer(Outcome.ANSWERED, 0.5)}
    assert Difference.between(first, second) == Difference(n=1, n_changed=1, largest=0.25, mean=0.25)
    assert Difference.between(second, first) == Difference.between(first, second)


@pytest.mark.slow
def test_other_weights_are_a_drift_and_the_same_weights_are_none() -> None:
    import torch

    from rbr.grading.transformers import TransformersGrader
    from rbr.profile import load_profile

    profile = load_profile("profiles/sandbox.yaml")
    first, changed = (TransformersGrader(profile.models.grader, profile.grader) for _ in range(2))
    before, again = ask_probes(first), ask_probes(first, reverse=True)
    noise = Difference.between(before, again)
    assert noise.largest < 1e-4
    # A model of the same kind with slightly other weights, as after another training or a stronger quantization.
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in changed._model.parameters():
            parameter.mul_(1 + 0.1 * torch.randn_like(parameter))
    assert Difference.between(before, ask_probes(changed)).is_beyond(noise)
