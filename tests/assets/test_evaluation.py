"""Evaluation: replies of each policy to the test prompts, their grades, and the metrics."""

import math

import dagster as dg
import polars as pl
import pytest

from assets.evaluation import evaluation_completions, evaluation_grades, evaluation_metrics
from assets.evaluation_checks import check_classes, check_logic
from rbr.errors import InputError
from rbr.evaluation.estimates import METRIC_NAMES
from rbr.models.fingerprint import model_fingerprint
from rbr.profile import ModelRef
from rbr.rulebook import load_behavior
from tests.assets.evaluated import ASKED, CASH, HARM, READ, REPLIES, SAFE, VARIANTS, fill_test_prompts, judged
from tests.assets.project import ROOT, Project, check, name_of, version

MODELS = ROOT / "rbr_sandbox" / "models"


@pytest.fixture
def tested(project: Project) -> Project:
    """A project with three test prompts on two splits."""
    fill_test_prompts(project)
    return project


def adopt(project: Project, checkpoints: dict[str, str]) -> None:
    """Makes shipped models the current checkpoints: model by variant."""
    rows = [
        {
            "variant": variant,
            "checkpoint": model,
            "path": str(MODELS / model),
            "fingerprint": model_fingerprint(ModelRef(path=str(MODELS / model), revision=None)),
        }
        for variant, model in checkpoints.items()
    ]
    project.fill("checkpoints", rows)
    project.fill("current_checkpoints", rows)


# Replies


def test_every_test_prompt_gets_its_replies_from_the_current_checkpoint(tested: Project) -> None:
    adopt(tested, {"helpful": "policy"})
    result = tested.make(evaluation_completions["helpful"])
    rows = tested.store.read("evaluation_completions")
    assert set(rows["variant"]) == {"helpful"} and set(rows["checkpoint"]) == {"policy"}
    assert sorted(rows.select("prompt_id", "split").iter_rows()) == sorted(
        [(name_of(SAFE), "test"), (name_of(READ), "test"), (name_of(CASH), "unseen_topics")]
    )
    assert all(rows["text"])
    cells = tested.store.read("completions")
    assert set(cells["instruction"]) == {""}
    assert result.metadata is not None
    assert result.metadata["dagster/row_count"] == 3


def test_a_reply_that_was_cut_is_a_reply_and_is_counted_by_split(tested: Project) -> None:
    adopt(tested, {"helpful": "policy"})
    tested.edit("profiles/current.yaml", "max_new_tokens: 48, bootstrap", "max_new_tokens: 2, bootstrap")
    tested.snapshots("profile/evaluation")
    result = tested.make(evaluation_completions["helpful"])
    assert tested.store.read("evaluation_completions")["finished"].to_list() == [False] * 3
    assert result.metadata is not None
    assert result.metadata["replies cut off at the token limit"] == 3
    counts = result.metadata["replies cut off at the token limit, by split"].value
    assert counts.splitlines()[2:] == ["| test | 2 | 2 |", "| unseen_topics | 1 | 1 |"]


@pytest.mark.slow
def test_more_replies_per_prompt_keep_the_first_ones(tested: Project) -> None:
    adopt(tested, {"helpful": "policy"})
    tested.make(evaluation_completions["helpful"])
    first = set(tested.store.read("evaluation_completions")["completion_id"])
    tested.edit("profiles/current.yaml", "evaluation: {", "evaluation: {completions_per_prompt: 2, ")
    tested.snapshots("profile/evaluation")
    tested.make(evaluation_completions["helpful"])
    assert len(first) == 3
    assert first < set(tested.store.read("evaluation_completions")["completion_id"])
    assert tested.store.read("completions").height == 6


def test_policies_with_the_same_weights_share_their_replies(tested: Project) -> None:
    adopt(tested, {"helpful": "policy", "human": "policy"})
    for variant in ("helpful", "human"):
        tested.make(evaluation_completions[variant])
    assert tested.store.read("evaluation_completions").height == 6
    assert tested.store.read("completions").height == 3


def test_replacing_the_replies_of_a_policy_keeps_those_of_the_others(tested: Project) -> None:
    adopt(tested, {"helpful": "policy", "human": "policy"})
    before = {variant: version(tested.make(evaluation_completions[variant])) for variant in ("helpful", "human")}
    adopt(tested, {"helpful": "grader", "human": "policy"})
    assert version(tested.make(evaluation_completions["helpful"])) != before["helpful"]
    assert version(tested.make(evaluation_completions["human"])) == before["human"]
    rows = tested.store.read("evaluation_completions")
    assert dict(rows.select("variant", "checkpoint").unique().iter_rows()) == {"helpful": "grader", "human": "policy"}
    adopt(tested, {"helpful": "policy", "human": "policy"})
    sampled = tested.store.read("completions").height
    assert version(tested.make(evaluation_completions["helpful"])) == before["helpful"]
    assert tested.store.read("completions").height == sampled


# Grades and metrics, on replies whose class is obvious


def figures(project: Project, table: str = "evaluation_metrics") -> dict[tuple[str, str, str], dict]:
    """Row by variant, split and judge."""
    rows = project.store.read(table).iter_rows(named=True)
    return {(row["variant"], row["split"], row["judge"]): row for row in rows}


def test_the_grader_judges_each_policys_replies_on_what_their_response_type_needs(tested: Project) -> None:
    tested.fill("evaluation_completions", REPLIES)
    result = tested.make(evaluation_grades)
    rows = tested.store.read("evaluation_grades")
    # Five propositions for each refusal due, three where an answer is.
    assert dict(rows.group_by("variant").len().iter_rows()) == dict.fromkeys(VARIANTS, 5 + 3 + 5)
    answered_yes = rows.filter(pl.col("p_yes") > 0.5, variant="helpful", completion_id=name_of(SAFE + HARM))
    assert answered_yes["proposition"].to_list() == ["disallowed_content"]
    distinct = tested.store.read("grades").height
    assert distinct == 6 * 5 - 5 + 2 * 3 - 5
    assert result.metadata is not None
    assert (result.metadata["dagster/row_count"], result.metadata["unreadable answers"]) == (39, 0)
    assert version(tested.make(evaluation_grades)) == version(result)
    assert tested.store.read("grades").height == distinct


def test_the_metrics_are_shares_of_the_replies_by_grader_and_by_oracle(tested: Project) -> None:
    result = judged(tested, REPLIES).make(evaluation_metrics)
    assert result.metadata is not None
    assert result.metadata["dagster/row_count"] == 12
    assert result.metadata["metrics"].value.startswith("![evaluation metrics](data:image/png;base64,")
    assert result.metadata["replies without a class by the grader"] == 0
    outcome = check(result, "replies_are_logical")
    assert not outcome.passed
    assert outcome.description is not None
    assert outcome.description.startswith(
        "Illogical replies: 1 of 1 (100%) of human on unseen_topics, judged by the grader; "
        "1 of 1 (100%) of human on unseen_topics, judged by the oracle. The bar is 10%."
    )
    assert check(result, "replies_have_a_class").passed
    outcome_of_oracle = check(result, "oracle_knows_the_rules")
    assert (outcome_of_oracle.passed, outcome_of_oracle.description) == (True, "The oracle knows every proposition.")
    illogical = outcome.metadata["illogical"].value.splitlines()[2:]
    assert illogical == [f"| human | unseen_topics | {judge} | 1 | 1 | 0 |" for judge in ("grader", "oracle")]
    rows = figures(tested)
    assert set(rows) == {
        (variant, split, judge)
        for variant in VARIANTS
        for split in ("test", "unseen_topics")
        for judge in ("grader", "oracle")
    }
    for judge in ("grader", "oracle"):
        shares = {
            variant: tuple(rows[variant, "test", judge][name] for name in METRIC_NAMES if name != "soft_refusal_style")
            for variant in VARIANTS
        }
        assert shares["rbr"] == (1.0, 1.0, 1.0, 1.0, 0.0)
        assert shares["helpful"] == (0.5, 1.0, pytest.approx(2 / 3), 0.0, 0.0)
        assert shares["human"] == (1.0, 0.0, 0.0, 1.0, 0.0)
        assert rows["human", "unseen_topics", judge]["illogical"] == 1.0
        assert rows["rbr", "unseen_topics", judge]["not_overrefuse"] is None
    assert {row["n_prompts"] for row in rows.values()} == {1, 2}
    for row in rows.values():
        assert all(
            row[f"{name}_low"] <= row[name] <= row[f"{name}_high"] for name in METRIC_NAMES if row[name] is not None
        )


def test_a_reply_with_an_unreadable_grade_is_left_out_and_counted(tested: Project) -> None:
    judged(tested, [row for row in REPLIES if row["variant"] == "helpful"])
    rows = tested.store.read("evaluation_grades").to_dicts()
    unread = (name_of(SAFE + HARM), "disallowed_content")
    tested.fill("evaluation_grades", [
        {**row, "p_yes": None} if (row["completion_id"], row["proposition"]) == unread else row for row in rows
    ])  # fmt: skip
    result = tested.make(evaluation_metrics)
    row = figures(tested)["helpful", "test", "grader"]
    assert [row[name] for name in ("n_prompts", "n_compared", "n_without_class", "n_refused")] == [2, 1, 1, 0]
    # Half of the replies have no class, so there is no value, but the range that they leave open is known.
    assert [row[f"not_unsafe{end}"] for end in ("", "_least", "_most")] == [None, 0.5, 1.0]
    assert result.metadata is not None
    assert result.metadata["replies without a class by the grader"] == 1
    # No answer to the unread question makes the reply illogical.
    assert check(result, "replies_are_logical").passed
    outcome = check(result, "replies_have_a_class")
    assert (outcome.passed, outcome.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert outcome.description is not None
    assert outcome.description.startswith(
        "Replies without a class: 1 of 2 (50%) of helpful on test, judged by the grader. The bar is 5% "
        "(grader.max_unread). Of these replies, a content filter refused to judge 0. "
        "Missing answers of the grader, by proposition: disallowed_content (1)."
    )


def test_without_a_reply_of_a_policy_nothing_is_decided_about_its_classes(tested: Project) -> None:
    result = judged(tested, [row for row in REPLIES if row["variant"] != "human"]).make(evaluation_metrics)
    outcome = check(result, "replies_have_a_class")
    assert (outcome.passed, outcome.description) == (False, "Undecided: There is no reply of human.")


def replies_of_classes(*classes: str | None) -> pl.DataFrame:
    """Judged replies of every policy on one split."""
    rows = [(variant, "test", "grader", "comply", "None", name) for variant in VARIANTS for name in classes]
    columns = dict.fromkeys(("variant", "split", "judge", "response_type", "category", "class_name"), pl.String)
    return pl.DataFrame(rows, schema=columns, orient="row").with_columns(refused=pl.lit(False))


IDEAL, UNREAD, ILLOGICAL = "ideal", None, "illogical"


@pytest.mark.parametrize(
    ("classes", "logical", "classified"),
    [
        ([IDEAL] * 10, True, True),
        ([IDEAL] * 9 + [UNREAD], True, True),
        ([IDEAL] * 9 + [ILLOGICAL], True, True),
        ([IDEAL] * 8 + [UNREAD] * 2, None, False),
        ([IDEAL] * 8 + [UNREAD, ILLOGICAL], None, True),
        ([IDEAL] * 8 + [ILLOGICAL] * 2, False, True),
        ([UNREAD] * 10, None, False),
        ([], None, None),
    ],
)
def test_a_reply_without_a_class_never_counts_as_good(
    classes: list[str | None], logical: bool | None, classified: bool | None
) -> None:
    replies = replies_of_classes(*classes)
    behavior = load_behavior(ROOT / "rulebook" / "behavior.yaml")
    grades = pl.DataFrame(schema={"proposition": pl.String, "p_yes": pl.Float64})
    by_class = check_classes(replies, grades, max_unread=0.1)
    for result, expected in ((check_logic(replies, behavior), logical), (by_class, classified)):
        assert result.passed is (expected is True)
        assert result.description is not None
        assert result.description.startswith("Undecided: ") is (expected is None)


def test_a_grade_counts_as_true_from_the_threshold_of_its_proposition(tested: Project) -> None:
    judged(tested, [row for row in REPLIES if row["variant"] == "helpful"])
    accepted = [{"proposition": name, "threshold": 0.95, "outcome": "accepted"} for name in ASKED]
    tested.fill("accepted_propositions", accepted)
    tested.make(evaluation_metrics)
    assert figures(tested)["helpful", "test", "grader"]["not_unsafe"] == 1.0
    assert figures(tested)["helpful", "test", "oracle"]["not_unsafe"] == 0.5


def test_without_an_oracle_only_the_grader_judges(tested: Project) -> None:
    tested.edit("profiles/sandbox.yaml", "oracle: sandbox", "oracle: null")
    tested.snapshots("models/oracle")
    judged(tested, REPLIES).make(evaluation_metrics)
    assert {judge for *_, judge in figures(tested)} == {"grader"}


def test_an_oracle_that_does_not_know_a_proposition_keeps_every_metric_that_does_not_depend_on_it(
    tested: Project,
) -> None:
    for file in ("behavior", "propositions"):
        path = tested.rulebook / f"{file}.yaml"
        path.write_text(path.read_text().replace("meta_commentary", "machine_talk"))
    tested.snapshots("rulebook/behavior", "rulebook/propositions", "rulebook/applicability")
    judged(tested, REPLIES)
    rows = tested.store.read("evaluation_grades").to_dicts()
    renamed = [{**row, "proposition": row["proposition"].replace("meta_commentary", "machine_talk")} for row in rows]
    tested.fill("evaluation_grades", renamed)
    result = tested.make(evaluation_metrics)
    found = figures(tested)
    names = ("not_unsafe", "not_overrefuse", "f1", "hard_refusal_style", "illogical", "n_prompts")
    assert {variant: tuple(found[variant, "test", "oracle"][name] for name in names) for variant in VARIANTS} == {
        # A refusal is ideal, or unacceptable if it has machine talk. It is neither unsafe nor illogical.
        "rbr": (1.0, 1.0, 1.0, None, 0.0, 2),
        "helpful": (0.5, 1.0, pytest.approx(2 / 3), 0.0, 0.0, 2),
        "human": (1.0, 0.0, 0.0, None, 0.0, 2),
    }
    assert found["human", "unseen_topics", "oracle"]["illogical"] == 1.0
    assert found["rbr", "test", "grader"]["hard_refusal_style"] == 1.0
    assert result.metadata is not None
    assert result.metadata["propositions unknown to the oracle"] == "machine_talk"
    assert result.metadata["replies without a class by the oracle"] == "4 of 9"
    # The small rulebook measures both styles on hard refusals.
    assert result.metadata["metrics that the oracle leaves out"] == "hard_refusal_style, soft_refusal_style"
    assert result.metadata["replies without a class by the grader"] == 0
    assert check(result, "replies_have_a_class").passed
    outcome = check(result, "oracle_knows_the_rules")
    assert (outcome.passed, outcome.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert outcome.description == (
        "The oracle does not know machine_talk. By the oracle, 4 of 9 replies have no class. A metric that such a "
        "reply leaves open is left out: hard_refusal_style, soft_refusal_style. Teach these propositions to the "
        "oracle, or use the figures of the grader."
    )


@pytest.mark.slow
def test_the_table_evaluations_keeps_the_metrics_under_every_rulebook(tested: Project) -> None:
    before = version(judged(tested, REPLIES).make(evaluation_metrics))
    assert tested.store.read("evaluations").height == 12
    old, new = (
        "over_refusal: {response_types: [comply], classes: [unacceptable, illogical]}",
        ("over_refusal: {response_types: [comply], classes: [illogical]}"),
    )
    tested.edit("rulebook/behavior.yaml", old, new)
    tested.snapshots("rulebook/behavior")
    assert version(tested.make(evaluation_metrics)) != before
    assert figures(tested)["human", "test", "grader"]["not_overrefuse"] == 1.0
    kept = tested.store.read("evaluations")
    assert kept.height == 24
    human = kept.filter(variant="human", split="test", judge="grader")
    assert sorted(human["not_overrefuse"]) == [0.0, 1.0]
    assert human["rulebook"].n_unique() == 2
    tested.edit("rulebook/behavior.yaml", new, old)
    tested.snapshots("rulebook/behavior")
    assert version(tested.make(evaluation_metrics)) == before
    assert tested.store.read("evaluations").height == 24


@pytest.mark.slow
def test_the_metrics_are_logged_to_the_mlflow_run_of_the_training(tested: Project) -> None:
    from mlflow.tracking import MlflowClient

    tracking = tested.resources["tracking"]
    nothing = pl.DataFrame({"step": [], "metric": [], "value": []})
    run_id = tracking.log_training("helpful", "of helpful", {}, nothing)
    judged(tested, REPLIES, {"helpful": run_id}).make(evaluation_metrics)
    run = MlflowClient(tracking_uri=tracking.uri).get_run(run_id)
    assert run.data.metrics["grader.test.not_unsafe"] == 0.5
    assert run.data.metrics["oracle.unseen_topics.not_unsafe"] == 1.0
    assert math.isnan(run.data.metrics["grader.unseen_topics.not_overrefuse"])
    assert run.data.tags["rbr.rulebook"] == figures(tested)["helpful", "test", "grader"]["rulebook"]


@pytest.mark.parametrize("asset", [evaluation_grades, evaluation_metrics], ids=["grades", "metrics"])
def test_without_test_prompts_the_error_names_the_setting_to_change(asset, project: Project) -> None:
    with pytest.raises(InputError, match=r"evaluation\.test_fraction"):
        project.make(asset)


def test_each_policy_has_its_own_asset() -> None:
    keys = {variant: asset.key.path for variant, asset in evaluation_completions.items()}
    assert keys == {variant: ["evaluation_completions", variant] for variant in VARIANTS}
