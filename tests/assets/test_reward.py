"""The fitted weights with their certificate, and the reward artifact."""

import numpy as np
import pytest

from assets.reward import MAX_GAP, fitted_weights, reward
from rbr.errors import InputError
from rbr.reward.artifact import RewardArtifact
from tests.assets.project import Project, check, version

OPTIMAL, IMPROVES = "weights_are_optimal", "rules_improve_on_the_reward_model"
SLOTS = (
    ("ideal", "perfect_refusal", {"apology", "inability_to_comply"}),
    ("bad", "bad_refusal", {"inability_to_comply", "meta_commentary"}),
    ("disallowed", "disallowed_content", {"disallowed_content"}),
)
ASKED = ("apology", "disallowed_content", "illogical_continuation_of_prompt", "inability_to_comply", "meta_commentary")
PROMPTS = 8


def compared(project: Project, *, readable: bool = True, accepted: bool = True, prompts: int = PROMPTS) -> Project:
    """Fills in comparisons of refusals that the reward model ranks in exactly the wrong order.

    Args:
        project: The project to fill.
        readable: Whether the grades differ between the replies.
        accepted: Whether the grader reaches the bar on `apology`.
        prompts: Number of prompts.
    """
    verified, grades, scores = [], [], []
    for prompt in range(prompts):
        for rank, (slot, label, true) in enumerate(SLOTS):
            cell = f"{slot}-{prompt}"
            verified.append(
                {
                    "completion_id": cell,
                    "prompt_id": f"prompt {prompt}",
                    "response_type": "hard_refusal",
                    "slot": slot,
                    "label": label,
                    "class_name": "ideal",
                    "p_class": 1.0,
                }
            )
            scores.append({"completion_id": cell, "score": rank + 0.01 * prompt})
            for name in ASKED:
                p_yes = 0.95 if name in true else 0.05
                grades.append({"completion_id": cell, "proposition": name, "p_yes": p_yes if readable else 0.5})
    project.fill("verified_comparisons", verified)
    project.fill("proposition_grades", grades)
    project.fill("reward_model_scores", scores)
    project.fill(
        "accepted_propositions",
        [{"proposition": name, "threshold": 0.5, "accepted": accepted or name != "apology"} for name in ASKED],
    )
    return project


def weights(project: Project) -> dict[str, float]:
    rows = project.store.read("fitted_weights").filter(response_type="hard_refusal")
    return dict(rows.select("feature", "weight").iter_rows())


# The fit


def test_the_weights_order_the_classes_as_the_ranking_does(project: Project) -> None:
    compared(project).make(fitted_weights)
    fitted = weights(project)
    assert list(fitted) == sorted(fitted)
    assert set(fitted) == {
        *(f"class:{name}" for name in ("ideal", "unacceptable", "illogical", "disallowed")),
        "proposition:apology",
        "proposition:meta_commentary",
    }
    assert fitted["class:ideal"] > fitted["class:disallowed"]
    rows = project.store.read("fitted_weights")
    assert rows["response_type"].unique().to_list() == ["hard_refusal"]
    assert rows["low"].null_count() == rows["high"].null_count() == 0


def test_the_certificate_bounds_the_gap_both_checks_pass_and_the_page_draws_the_weights(project: Project) -> None:
    result = compared(project).make(fitted_weights)
    (row,) = project.store.read("fit_certificates").iter_rows(named=True)
    assert 0 <= row["gap"] <= MAX_GAP
    assert row["primal"] >= row["dual"] > 0
    assert row["n_pairs"] == 3 * row["n_prompts"]
    assert row["error_rm"] == 1.0
    assert row["error_total"] == 0.0
    assert result.metadata is not None
    assert result.metadata["dagster/row_count"] == 6
    assert result.metadata["weights"].value.startswith("![fitted weights](data:image/png;base64,")
    assert "| hard_refusal |" in result.metadata["fits"].value
    assert check(result, OPTIMAL).passed
    assert check(result, IMPROVES).passed


def test_rules_that_do_not_distinguish_replies_fail_the_check_against_the_reward_model(project: Project) -> None:
    result = compared(project, readable=False).make(fitted_weights)
    assert not check(result, IMPROVES).passed
    assert check(result, OPTIMAL).passed


def test_without_any_comparison_the_blocking_check_fails(project: Project) -> None:
    result = compared(project, prompts=0).make(fitted_weights)
    assert not check(result, OPTIMAL).passed
    assert project.store.read("fitted_weights").is_empty()
    assert project.store.read("fit_certificates").is_empty()
    (spec,) = [spec for spec in fitted_weights.check_specs if spec.name == OPTIMAL]
    assert spec.blocking


def test_a_proposition_below_the_bar_is_not_a_feature(project: Project) -> None:
    compared(project, accepted=False).make(fitted_weights)
    assert "proposition:apology" not in weights(project)
    assert "proposition:meta_commentary" in weights(project)


def test_a_reply_without_a_score_is_left_out_of_the_fit(project: Project) -> None:
    compared(project).make(fitted_weights)
    pairs = project.store.read("fit_certificates")["n_pairs"].item()
    rows = project.store.read("reward_model_scores").to_dicts()
    project.fill(
        "reward_model_scores", [{**row, "score": None} if "bad" in row["completion_id"] else row for row in rows]
    )
    project.make(fitted_weights)
    assert project.store.read("fit_certificates")["n_pairs"].item() == pairs / 3


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("rulebook/behavior.yaml", "[bad_refusal], [disallowed_content]]", "[disallowed_content], [bad_refusal]]"),
        ("rulebook/behavior.yaml", "features: [apology, meta_commentary]", "features: [apology]"),
        ("profiles/sandbox.yaml", "l2: 0.01", "l2: 0.1"),
    ],
    ids=["ranking", "features", "ridge"],
)
@pytest.mark.slow
def test_an_edit_of_what_the_fit_reads_changes_the_weights(file: str, old: str, new: str, project: Project) -> None:
    before = version(compared(project).make(fitted_weights))
    project.edit(file, old, new)
    project.snapshots("rulebook/behavior", "profile/fit")
    assert version(project.make(fitted_weights)) != before


def test_fitting_again_and_a_reverted_margin_give_the_same_weights(project: Project) -> None:
    before = version(compared(project).make(fitted_weights))
    seen = []
    for old, new in (("1.0", "2.0"), ("2.0", "1.0")):
        project.edit("rulebook/behavior.yaml", f"perfect_refusal: {old}", f"perfect_refusal: {new}")
        project.snapshots("rulebook/behavior")
        seen.append(version(project.make(fitted_weights)))
    assert seen[0] != before
    assert seen[1] == before


@pytest.mark.slow
def test_bars_and_metrics_do_not_change_the_weights(project: Project) -> None:
    before = version(compared(project).make(fitted_weights))
    project.edit("rulebook/behavior.yaml", "bar: 0.7", "bar: 0.6")
    project.edit("rulebook/behavior.yaml", "soft_refusal_style: {response_types: [hard_refusal], classes: [ideal]}",
                 "soft_refusal_style: {response_types: [comply], classes: [ideal]}")  # fmt: skip
    project.snapshots("rulebook/behavior")
    assert version(project.make(fitted_weights)) == before


# The artifact

FITTED = {
    "class:disallowed": -2.0,
    "class:ideal": 3.0,
    "class:illogical": -1.0,
    "class:unacceptable": 0.5,
    "proposition:apology": 0.25,
    "proposition:meta_commentary": -0.5,
}


def fitted(project: Project, thresholds: dict[str, float] | None = None, **changes: float) -> Project:
    """Weights for refusals, written by hand; there are none for `comply`."""
    values = {**FITTED, **{name.replace("__", ":"): value for name, value in changes.items()}}
    rows = [{"response_type": "hard_refusal", "feature": name, "weight": value} for name, value in values.items()]
    project.fill("fitted_weights", rows)
    project.fill(
        "accepted_propositions",
        [{"proposition": name, "threshold": (thresholds or {}).get(name, 0.5), "accepted": True} for name in ASKED],
    )
    return project


def test_the_artifact_computes_the_reward_from_grades_alone(project: Project) -> None:
    fitted(project).make(reward)
    rules = RewardArtifact.load(project.artifacts.reward).rules["hard_refusal"]
    assert rules.features.propositions == ASKED
    grades = {name: np.array([[1.0 if asked in true else 0.0 for asked in ASKED]]) for name, _, true in SLOTS}
    assert rules.r_rbr(grades["ideal"]) == pytest.approx([3.0 + 0.25])
    assert rules.r_rbr(grades["bad"]) == pytest.approx([0.5 - 0.5])
    assert rules.r_rbr(grades["disallowed"]) == pytest.approx([-2.0])


def test_the_artifact_holds_the_questions_the_categories_and_the_fingerprints_of_its_models(project: Project) -> None:
    result = fitted(project).make(reward)
    artifact = RewardArtifact.load(project.artifacts.reward)
    assert set(artifact.propositions) == set(ASKED)
    assert artifact.propositions["apology"].question == "Does the reply contain exactly one short apology?"
    assert artifact.response_types == {"K-C": "comply", "K-R": "hard_refusal", "None": "comply"}
    assert artifact.grader == project.store.snapshot("models/grader")["fingerprint"]
    assert artifact.reward_model == project.store.snapshot("models/helpful_reward_model")["fingerprint"]
    assert version(result) == artifact.identity
    assert result.metadata is not None
    assert result.metadata["grader"] == artifact.grader
    assert result.metadata["reward"].value == str(project.artifacts.reward)
    assert "| hard_refusal | 5 |" in result.metadata["propositions to grade"].value


def test_a_response_type_without_weights_is_rewarded_by_the_reward_model_alone(project: Project) -> None:
    fitted(project).make(reward)
    assert set(RewardArtifact.load(project.artifacts.reward).rules) == {"hard_refusal"}


def test_loading_a_reward_that_does_not_exist_is_an_error(project: Project) -> None:
    with pytest.raises(InputError, match="the reward file does not exist"):
        RewardArtifact.load(project.artifacts.reward)


BEHAVIOR, PROPOSITIONS = "rulebook/behavior.yaml", "rulebook/propositions.yaml"
POLICY = "rulebook/content_policy.yaml"
DESCRIBED = "crime only to explain or describe it?\n    response_type: "


def test_an_edit_of_what_the_reward_does_not_use_does_not_change_it(project: Project) -> None:
    before = version(fitted(project).make(reward))
    # A margin whose weights stayed, a bar, and the same rule with parentheses.
    project.edit(BEHAVIOR, "{perfect_refusal: 1.0}", "{perfect_refusal: 2.0}")
    project.edit(BEHAVIOR, "bar: 0.7", "bar: 0.6")
    project.edit(
        BEHAVIOR, "refusal: apology and inability_to_comply and", "refusal: (apology and inability_to_comply) and"
    )
    # An example that is not shown, and a question that only a response type without weights asks.
    project.edit(PROPOSITIONS, "I can't help with that.\", answer: no", 'No.", answer: no')
    project.edit(PROPOSITIONS, "at least a part of what was asked?", "any part of what was asked?")
    project.edit(POLICY, "Crime as a topic.", "Crime in general.")
    project.snapshots("rulebook/behavior", "rulebook/propositions", "rulebook/content_policy")
    assert version(project.make(reward)) == before


@pytest.mark.parametrize(
    ("file", "old", "new", "snapshot"),
    [
        (BEHAVIOR, "refusal: apology and inability_to_comply and not", "refusal: apology and not", "rulebook/behavior"),
        (PROPOSITIONS, "exactly one short apology?", "exactly one apology?", "rulebook/propositions"),
        (POLICY, f"{DESCRIBED}comply", f"{DESCRIBED}hard_refusal", "rulebook/content_policy"),
        ("profiles/sandbox.yaml", "few_shot: 0", "few_shot: 1", "profile/grader"),
    ],
    ids=["a class rule", "a question", "a response type", "shown examples"],
)
def test_an_edit_of_what_the_reward_uses_changes_it(
    file: str, old: str, new: str, snapshot: str, project: Project
) -> None:
    before = version(fitted(project).make(reward))
    project.edit(file, old, new)
    project.snapshots(snapshot)
    assert version(project.make(reward)) != before


def test_a_weight_or_a_threshold_changes_the_reward(project: Project) -> None:
    versions = {
        version(fitted(project).make(reward)),
        version(fitted(project, class__ideal=3.5).make(reward)),
        version(fitted(project, thresholds={"apology": 0.6}).make(reward)),
    }
    assert len(versions) == 3


def test_the_threshold_of_a_proposition_that_is_not_used_does_not_change_the_reward(project: Project) -> None:
    before = version(fitted(project).make(reward))
    rows = project.store.read("accepted_propositions").to_dicts()
    project.fill("accepted_propositions", [*rows, {"proposition": "spare", "threshold": 0.9, "accepted": True}])
    assert version(project.make(reward)) == before
