"""The audit of the fitted reward: error rates on held-out prompts by three judges, and the pairs behind them."""

import polars as pl
import pytest

from assets.reward import fitted_weights
from assets.reward_audit import reward_audit
from rbr.comparisons.prompt_sampling import is_held_out
from tests.assets.evaluated import ASKED, HARM, NONSENSE, REFUSAL, TRUE
from tests.assets.project import Project, as_messages, name_of, version

HELD_OUT_FRACTION = 0.4  # As in the profile of the small project.
PROMPTS = [f"Tell me how to crack safe number {number}." for number in range(12)]
HELD_OUT = [prompt for prompt in PROMPTS if is_held_out(name_of(prompt), HELD_OUT_FRACTION)]
# Slot, label, text and R_rm of the replies to each prompt. R_rm prefers harmful replies.
REPLIES = (
    ("ideal", "perfect_refusal", REFUSAL, 0.0),
    ("bad", "bad_refusal", NONSENSE, 1.0),
    ("disallowed", "disallowed_content", HARM, 3.0),
)


def cell(prompt: str, slot: str) -> str:
    return f"{slot} {name_of(prompt)}"


def audited(project: Project, *, misread: str = "", without_class: str = "") -> Project:
    """Fills in comparisons of refusals and fits the weights.

    Args:
        project: The project to fill.
        misread: A held-out prompt of which the grader reads the ideal reply as harmful.
        without_class: A held-out prompt of which the grader's answers could not be read.
    """
    candidates, grades, scores = [], [], []
    for prompt in PROMPTS:
        for slot, label, text, score in REPLIES:
            completion_id = cell(prompt, slot)
            candidates.append(
                {
                    "completion_id": completion_id,
                    "prompt_id": name_of(prompt),
                    "response_type": "hard_refusal",
                    "slot": slot,
                    "label": label,
                    "candidate": 0,
                    "text": text,
                    "class_name": "ideal",
                    "p_class": 1.0,
                }
            )
            scores.append({"completion_id": completion_id, "score": score})
            true = TRUE[HARM] if (prompt, slot) == (misread, "ideal") else TRUE[text]
            for name in ASKED:
                p_yes = None if prompt == without_class else 0.95 if name in true else 0.05
                grades.append({"completion_id": completion_id, "proposition": name, "p_yes": p_yes})
    prompts = [{"prompt_id": name_of(prompt), "messages": as_messages(prompt), "category": "K-R"} for prompt in PROMPTS]
    project.fill("training_prompts", prompts)
    project.fill("synthetic_comparisons", candidates)
    project.fill("verified_comparisons", candidates)
    project.fill("proposition_grades", grades)
    project.fill("reward_model_scores", scores)
    accepted = [{"proposition": name, "threshold": 0.5, "outcome": "accepted"} for name in ASKED]
    project.fill("accepted_propositions", accepted)
    project.make(fitted_weights)
    return project


def rates(project: Project, response_type: str = "hard_refusal") -> dict[str, tuple]:
    table = project.store.read("reward_error_rates").filter(response_type=response_type)
    columns = ("replies", "n_pairs", "error_rm", "error_rbr", "error_total")
    return {row[0]: row[1:] for row in table.select(columns).iter_rows()}


PAIRS = 2 * len(HELD_OUT)


def test_a_reward_that_follows_the_rules_orders_every_held_out_pair(project: Project) -> None:
    result = audited(project).make(reward_audit)
    assert 0 < len(HELD_OUT) < len(PROMPTS)
    # R_rm prefers every worse reply, and the rules correct it.
    assert rates(project) == dict.fromkeys(
        ("verified", "candidates by grader", "candidates by oracle"), (PAIRS, 1.0, 0.0, 0.0)
    )
    assert project.store.read("wrongly_ordered_pairs").is_empty()
    assert result.metadata is not None
    assert result.metadata["wrongly ordered held-out pairs"] == 0
    assert result.metadata["rewards"].value.startswith("![")
    assert "| hard_refusal |" in result.metadata["error rates"].value


def test_a_response_type_without_replies_has_no_error_rates(project: Project) -> None:
    audited(project).make(reward_audit)
    nothing = dict.fromkeys(("candidates by grader", "candidates by oracle"), (0, None, None, None))
    assert rates(project, "comply") == nothing


def test_a_reply_that_the_grader_misreads_is_listed_with_the_terms_that_favor_the_worse_replies(
    project: Project,
) -> None:
    result = audited(project, misread=HELD_OUT[0]).make(reward_audit)
    found = rates(project)
    # The labels and the oracle know that the misread reply is ideal. Its two pairs are wrong.
    assert found["verified"] == pytest.approx((PAIRS, 1.0, 2 / PAIRS, 2 / PAIRS))
    assert found["candidates by oracle"] == pytest.approx((PAIRS, 1.0, 2 / PAIRS, 2 / PAIRS))
    # By the grader, no reply to this prompt is ideal.
    assert found["candidates by grader"] == (PAIRS - 2, 1.0, 0.0, 0.0)
    pairs = project.store.read("wrongly_ordered_pairs")
    assert pairs["prompt_id"].unique().to_list() == [name_of(HELD_OUT[0])]
    assert set(pairs.select("better", "worse", "better_label", "worse_label").iter_rows()) == {
        (cell(HELD_OUT[0], "ideal"), cell(HELD_OUT[0], slot), "perfect_refusal", label)
        for slot, label in (("bad", "bad_refusal"), ("disallowed", "disallowed_content"))
    }
    assert (pairs["lead"] <= 0).all()
    (causes,) = pairs.filter(pl.col("worse") == cell(HELD_OUT[0], "disallowed"))["causes"]
    assert causes.startswith("R_rm +3.000")
    assert result.metadata is not None
    assert result.metadata["wrongly ordered held-out pairs"] == 2
    assert "perfect_refusal" in result.metadata["first wrongly ordered pairs"].value


def test_replies_whose_grades_could_not_be_read_are_in_no_pair(project: Project) -> None:
    audited(project, without_class=HELD_OUT[0]).make(reward_audit)
    assert {n_pairs for n_pairs, *_ in rates(project).values()} == {PAIRS - 2}
    table = project.store.read("reward_error_rates").filter(response_type="hard_refusal")
    # Any two of the three replies may be an ideal and a worse one, if only the grader says which is which.
    assert dict(table.select("replies", "n_left_out").iter_rows()) == {
        "verified": 2,
        "candidates by grader": 3,
        "candidates by oracle": 2,
    }


def test_without_an_oracle_only_labels_and_grader_decide(project: Project) -> None:
    project.edit("profiles/sandbox.yaml", "oracle: sandbox", "oracle: null")
    project.snapshots("models/oracle")
    audited(project).make(reward_audit)
    found = rates(project)
    assert found["candidates by oracle"] == (0, None, None, None)
    assert found["verified"] == found["candidates by grader"] == (PAIRS, 1.0, 0.0, 0.0)


def test_the_same_inputs_give_the_same_version_and_another_order_another_one(project: Project) -> None:
    first = version(audited(project).make(reward_audit))
    assert version(project.make(reward_audit)) == first
    assert version(audited(project, misread=HELD_OUT[0]).make(reward_audit)) != first


def test_without_any_comparison_there_is_nothing_to_audit(project: Project) -> None:
    project.make(fitted_weights)
    project.make(reward_audit)
    assert project.store.read("wrongly_ordered_pairs").is_empty()
    assert project.store.read("reward_error_rates")["n_pairs"].to_list() == [0, 0, 0, 0]
