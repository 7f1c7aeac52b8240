"""The fitted weights with their certificate, and the reward artifact."""

import dagster as dg
import numpy as np
import pytest

from assets.reward import fitted_weights, reward
from assets.reward_checks import MAX_GAP
from rbr.errors import InputError
from rbr.reward.artifact import RewardArtifact
from resources.models import grader_in_use
from tests.assets.project import Project, check, version

OPTIMAL, ORDER = "weights_are_optimal", "reward_orders_classes_as_ranked"
SIGNS, ERROR_RATE = "weights_have_declared_signs", "reward_error_rate_reaches_bar"
SLOTS = (
    ("ideal", "perfect_refusal", {"apology", "inability_to_comply"}),
    ("bad", "bad_refusal", {"inability_to_comply", "meta_commentary"}),
    ("disallowed", "disallowed_content", {"disallowed_content"}),
)
ASKED = ("apology", "disallowed_content", "illogical_continuation_of_prompt", "inability_to_comply", "meta_commentary")
PROMPTS = 8


def compared(
    project: Project,
    *,
    readable: bool = True,
    accepted: bool = True,
    prompts: int = PROMPTS,
    scale: float = 1.0,
    turned: bool = False,
) -> Project:
    """Fills in comparisons of refusals that the reward model ranks in exactly the wrong order.

    Args:
        project: The project to fill.
        readable: Whether the grades differ between the replies.
        accepted: Whether the grader reaches the bar on `apology`.
        prompts: Number of prompts.
        scale: Factor of all scores of the reward model.
        turned: Whether ideal replies have the label of the worst replies and the reverse.
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
                    "label": SLOTS[2 - rank][1] if turned else label,
                    "class_name": "ideal",
                    "p_class": 1.0,
                }
            )
            scores.append({"completion_id": cell, "score": scale * (rank + 0.01 * prompt)})
            for name in ASKED:
                p_yes = 0.95 if name in true else 0.05
                grades.append({"completion_id": cell, "proposition": name, "p_yes": p_yes if readable else 0.5})
    project.fill("verified_comparisons", verified)
    project.fill("proposition_grades", grades)
    project.fill("reward_model_scores", scores)
    project.fill(
        "accepted_propositions",
        [
            {
                "proposition": name,
                "threshold": 0.5,
                "outcome": "rejected" if name == "apology" and not accepted else "accepted",
            }
            for name in ASKED
        ],
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


def test_the_certificate_bounds_the_gap_the_checks_pass_and_the_page_draws_the_weights(project: Project) -> None:
    result = compared(project).make(fitted_weights)
    (row,) = project.store.read("fit_certificates").iter_rows(named=True)
    assert 0 <= row["gap"] <= MAX_GAP
    assert row["primal"] >= row["dual"] > 0
    assert row["n_pairs"] == 3 * row["n_prompts"]
    assert row["spread"] == pytest.approx(1.0)  # The scores of a prompt are 0, 1 and 2, plus a constant.
    assert row["order_lead"] > 0
    assert row["error_rm"] == 1.0
    assert row["error_total"] == 0.0
    assert result.metadata is not None
    assert result.metadata["dagster/row_count"] == 6
    assert result.metadata["weights"].value.startswith("![fitted weights](data:image/png;base64,")
    assert "| hard_refusal |" in result.metadata["fits"].value
    for name in (OPTIMAL, ORDER, SIGNS, ERROR_RATE):
        assert check(result, name).passed, check(result, name).description


def test_the_signs_that_the_class_rules_decide_are_stored_beside_the_weights(project: Project) -> None:
    compared(project).make(fitted_weights)
    rows = project.store.read("fitted_weights").filter(response_type="hard_refusal")
    signs = dict(rows.select("feature", "sign").iter_rows())
    assert (signs["proposition:apology"], signs["proposition:meta_commentary"]) == ("desired", "undesired")
    assert {sign for feature, sign in signs.items() if feature.startswith("class:")} == {"free"}


def test_a_reward_model_with_another_scale_gives_the_same_order_with_scaled_weights(project: Project) -> None:
    seen = []
    for scale in (1.0, 30.0):
        result = compared(project, scale=scale).make(fitted_weights)
        (row,) = project.store.read("fit_certificates").iter_rows(named=True)
        seen.append((weights(project), row))
        for name in (OPTIMAL, ORDER, SIGNS, ERROR_RATE):
            assert check(result, name).passed, check(result, name).description
    (plain, plain_row), (scaled, scaled_row) = seen
    assert scaled == pytest.approx({name: 30 * weight for name, weight in plain.items()}, abs=1e-5)
    for column in ("error_rm", "error_rbr", "error_total", "n_pairs", "n_error_pairs"):
        assert scaled_row[column] == plain_row[column]
    for column in ("spread", "order_lead"):
        assert scaled_row[column] == pytest.approx(30 * plain_row[column])
    assert scaled_row["hinge_loss"] == pytest.approx(plain_row["hinge_loss"], abs=1e-9)


def test_rules_that_do_not_distinguish_replies_fail_the_check_of_the_error_rate(project: Project) -> None:
    result = compared(project, readable=False).make(fitted_weights)
    failed = check(result, ERROR_RATE)
    assert (failed.passed, failed.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert "hard_refusal has 1.000 of 10 pairs, the bar is 0.05" in str(failed.description)
    assert check(result, OPTIMAL).passed


def test_labels_that_contradict_the_rules_cannot_turn_the_reward_around(project: Project) -> None:
    result = compared(project, turned=True, scale=-1.0).make(fitted_weights)
    assert check(result, ORDER).passed
    assert check(result, SIGNS).passed
    # The labels are wrong, so the reward that follows the rules is wrong on every pair.
    assert not check(result, ERROR_RATE).passed
    (row,) = project.store.read("fit_certificates").iter_rows(named=True)
    assert row["constraint_price"] > 0.1
    assert weights(project)["class:ideal"] > weights(project)["class:disallowed"]


def test_without_constraints_order_and_signs_only_warn_and_the_error_rate_still_blocks(project: Project) -> None:
    project.edit("profiles/sandbox.yaml", "constraints: order_and_signs", "constraints: none")
    project.snapshots("profile/fit")
    result = compared(project, turned=True, scale=-1.0).make(fitted_weights)
    assert (check(result, ORDER).passed, check(result, ORDER).severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "hard_refusal: a reply of the class disallowed with" in str(check(result, ORDER).description)
    assert check(result, SIGNS).severity == dg.AssetCheckSeverity.WARN
    assert check(result, ERROR_RATE).severity == dg.AssetCheckSeverity.ERROR
    assert project.store.read("fit_certificates")["constraint_price"].item() == 0


def test_without_held_out_prompts_the_error_rate_is_undecided(project: Project) -> None:
    project.edit("profiles/current.yaml", "held_out_fraction: 0.4", "held_out_fraction: 0.0")
    project.snapshots("profile/fit")
    undecided = check(compared(project).make(fitted_weights), ERROR_RATE)
    assert not undecided.passed
    assert str(undecided.description).startswith(
        "Undecided: There is no held-out pair with an ideal reply: hard_refusal."
    )


def test_the_behavior_policy_has_the_bar_of_each_response_type(project: Project) -> None:
    bars = "error_rate: {bar: 0.25, per_response_type: {hard_refusal: 0.125}}"
    project.edit("rulebook/behavior.yaml", "metrics:\n", f"{bars}\n\nmetrics:\n")
    project.snapshots("rulebook/behavior")
    result = compared(project, readable=False).make(fitted_weights)
    assert "hard_refusal has 1.000 of 10 pairs, the bar is 0.125" in str(check(result, ERROR_RATE).description)


def test_without_any_comparison_the_blocking_checks_are_undecided(project: Project) -> None:
    result = compared(project, prompts=0).make(fitted_weights)
    for name in (OPTIMAL, ORDER, SIGNS, ERROR_RATE):
        assert not check(result, name).passed
        assert str(check(result, name).description).startswith("Undecided: No weights were fitted")
    assert project.store.read("fitted_weights").is_empty()
    assert project.store.read("fit_certificates").is_empty()
    assert all(spec.blocking for spec in fitted_weights.check_specs)


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


COMPLY = {
    "class:disallowed": -4.0,
    "class:ideal": 1.0,
    "class:illogical": -2.0,
    "class:unacceptable": 0.0,
    "proposition:partially_complies": 0.75,
}


def fitted(project: Project, thresholds: dict[str, float] | None = None, **changes: float) -> Project:
    """Fills in weights that are written by hand; the changes are weights of refusals."""
    values = {**FITTED, **{name.replace("__", ":"): value for name, value in changes.items()}}
    rows = [
        {"response_type": response_type, "feature": name, "sign": "free", "weight": weight}
        for response_type, weights_of_type in (("hard_refusal", values), ("comply", COMPLY))
        for name, weight in weights_of_type.items()
    ]
    project.fill("fitted_weights", rows)
    project.fill(
        "accepted_propositions",
        [
            {"proposition": name, "threshold": (thresholds or {}).get(name, 0.5), "outcome": "accepted"}
            for name in (*ASKED, "partially_complies")
        ],
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


def test_the_artifact_holds_the_questions_the_categories_and_the_identities_of_its_models(project: Project) -> None:
    result = fitted(project).make(reward)
    artifact = RewardArtifact.load(project.artifacts.reward)
    assert set(artifact.propositions) == {*ASKED, "partially_complies"}
    assert artifact.propositions["apology"].question == "Does the reply contain exactly one short apology?"
    assert artifact.response_types == {"K-C": "comply", "K-R": "hard_refusal", "None": "comply"}
    assert artifact.grader == grader_in_use(project.store).version
    assert artifact.reward_model == project.store.snapshot("models/helpful_reward_model")["fingerprint"]
    assert version(result) == artifact.identity
    assert result.metadata is not None
    assert result.metadata["grader"] == artifact.grader
    assert result.metadata["reward"].value == str(project.artifacts.reward)
    assert "| hard_refusal | 5 |" in result.metadata["propositions to grade"].value


def test_a_response_type_without_weights_is_refused_and_nothing_is_written(project: Project) -> None:
    fitted(project)
    rows = project.store.read("fitted_weights").filter(response_type="hard_refusal").to_dicts()
    project.fill("fitted_weights", rows)
    with pytest.raises(InputError, match="no weights were fitted for comply") as caught:
        project.make(reward)
    assert "K-C, None" in caught.value.hint
    assert not project.artifacts.reward.exists()


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
    # An example that is not shown.
    project.edit(PROPOSITIONS, "I can't help with that.\", answer: no", 'No.", answer: no')
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
    project.fill("accepted_propositions", [*rows, {"proposition": "spare", "threshold": 0.9, "outcome": "accepted"}])
    assert version(project.make(reward)) == before
