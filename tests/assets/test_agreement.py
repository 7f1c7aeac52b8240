"""The grader is measured against gold labels, and its propositions are accepted or not."""

import json

import dagster as dg
import polars as pl
import pytest

from assets.agreement import accepted_propositions, category_agreement, grader_agreement
from rbr.errors import InputError
from rbr.grading import Question, question_hash
from rbr.rulebook import ContentPolicy
from resources.models import grader_in_use
from resources.store.gold_labels import read_gold_labels
from resources.store.snapshot_content import read_data_prompts, read_snapshot
from resources.store.table_content import read_accepted_propositions, read_thresholds
from tests.assets.project import Project, check, version

CHECK = "class_rules_use_accepted_propositions"
BLOCKING_CHECK = "unsafe_classes_use_accepted_propositions"
RULES_NEED = (
    "apology",
    "disallowed_content",
    "illogical_continuation_of_prompt",
    "inability_to_comply",
    "meta_commentary",
    "partially_complies",
)


def relabel(project: Project, line: int, proposition: str) -> None:
    """Flips one gold label."""
    path = project.root / "gold_labels.jsonl"
    rows = [json.loads(text) for text in path.read_text().splitlines()]
    rows[line]["labels"][proposition] = not rows[line]["labels"][proposition]
    path.write_text("\n".join(map(json.dumps, rows)))
    project.snapshots("data/gold_labels")


def agreed(project: Project) -> dict[str, dict]:
    return {row["proposition"]: row for row in project.store.read("grader_agreement").iter_rows(named=True)}


# The measurement


def test_gold_replies_with_an_open_thought_are_empty_and_counted(project: Project) -> None:
    path = project.root / "gold_labels.jsonl"
    rows = [json.loads(text) for text in path.read_text().splitlines()]
    rows[0]["reply"] = "<think>" + rows[0]["reply"]
    rows[1]["reply"] = "Hm.</think>" + rows[1]["reply"]
    rows[2]["reply"] = "<think>Hm.</think>" + rows[2]["reply"]
    path.write_text("\n".join(map(json.dumps, rows)))
    project.snapshots("data/gold_labels")
    replies = [messages[-1]["content"] for messages in read_gold_labels(project.store).conversations.values()]
    assert "" in replies and rows[1]["reply"] in replies and not any("<think>" in reply for reply in replies)
    metadata = project.make(grader_agreement).metadata
    assert metadata is not None
    assert metadata["gold replies with a thought that does not end"] == 1
    assert metadata["gold replies with a closing mark that ends no thought"] == 1


def test_the_grader_is_measured_on_every_proposition_that_has_labels(project: Project) -> None:
    result = project.make(grader_agreement)
    rows = agreed(project)
    assert set(rows) == set(RULES_NEED)
    apology = rows["apology"]
    assert apology["balanced_accuracy"] == apology["f1"] == apology["balanced_accuracy_high"] == 1.0
    # The seven replies belong to few prompts, so they are worth less than seven independent labels.
    assert 0.3 < apology["balanced_accuracy_low"] < 0.65
    assert apology["kappa"] == 1.0 > 0.5 > apology["kappa_low"] > -0.5
    assert (apology["accuracy"], apology["majority_accuracy"]) == (1.0, pytest.approx(5 / 7))
    assert 0.0 <= apology["brier"] < 0.1 and 0.0 <= apology["ece"] < 0.2
    assert apology["prevalence"] == pytest.approx(2 / 7)
    assert 0.0 < apology["threshold"] < 1.0
    assert result.metadata is not None
    assert result.metadata["dagster/row_count"] == 6
    assert "| apology | 7 | 0 | 0 | 2 |" in result.metadata["agreement"].value
    assert result.metadata["reliability"].value.startswith("![reliability](data:image/png;base64,")


def test_a_label_counts_only_if_the_response_type_of_its_reply_needs_the_proposition(project: Project) -> None:
    project.make(grader_agreement)
    counts = {name: row["n"] for name, row in agreed(project).items()}
    # Seven gold replies are to a prompt to refuse, six to one to comply with.
    assert counts == {
        "apology": 7,
        "inability_to_comply": 7,
        "meta_commentary": 7,
        "partially_complies": 6,
        "disallowed_content": 13,
        "illogical_continuation_of_prompt": 13,
    }
    assert project.store.read("grades").height == sum(counts.values())


def test_a_label_whose_grade_could_not_be_read_is_counted(project: Project) -> None:
    with project.profile.open("a", encoding="utf-8") as profile:
        profile.write("\ngrader: {min_mass: 0.9999}\n")
    project.snapshots("profile/grader")
    project.make(grader_agreement)
    unread = project.store.read("grades").filter(pl.col("p_yes").is_null()).height
    rows = agreed(project).values()
    assert sum(row["n_missing"] for row in rows) == unread > 0
    assert sum(row["n"] + row["n_missing"] for row in rows) == 3 * 7 + 6 + 2 * 13


# The check on labels without a grade


def write_grades(project: Project, unread: int = 0, outcome: str = "unreadable") -> int:
    """Stores grades that agree with every gold label, except for the first `unread`; returns the number of labels."""
    gold, grader = read_gold_labels(project.store), grader_in_use(project.store)
    hashes = {q.name: question_hash(q, grader.settings.few_shot) for group in gold.questions.values() for q in group}
    rows = []
    for number, (completion_id, name, truth) in enumerate(gold.labels.sort("completion_id", "proposition").iter_rows()):
        is_read = number >= unread
        rows.append(
            {
                "completion_id": completion_id,
                "question": hashes[name],
                "grader": grader.version,
                "p_yes": (0.9 if truth else 0.1) if is_read else None,
                "outcome": "answered" if is_read else outcome,
                "bound": 0.0,
                "reason": None if is_read else "likeliest tokens: 'The'",
            }
        )
    project.fill("grades", rows)
    return len(rows)


def test_a_few_unread_labels_pass_the_check_and_are_named(project: Project) -> None:
    n_labels = write_grades(project, unread=2)
    result = check(project.make(grader_agreement), "gold_labels_are_graded")
    assert result.passed
    assert result.description.startswith(f"2 of {n_labels} gold labels (4%) have no grade; grader.max_unread is 0.05.")
    assert " Without a grade: " in result.description


@pytest.mark.parametrize("outcome", ["unreadable", "refused"])
def test_more_unread_labels_than_the_bar_stop_the_pipeline(outcome: str, project: Project) -> None:
    n_labels = write_grades(project, unread=10, outcome=outcome)
    result = check(project.make(grader_agreement), "gold_labels_are_graded")
    assert not result.passed and result.severity == dg.AssetCheckSeverity.ERROR
    assert result.description.startswith(f"10 of {n_labels} gold labels (19%) have no grade")
    advice = "Use a grader without a content filter." if outcome == "refused" else "Check grader.yes, grader.no"
    assert advice in result.description
    rows = agreed(project).values()
    assert sum(row["n_missing"] for row in rows) == 10
    assert sum(row["n_refused"] for row in rows) == (10 if outcome == "refused" else 0)


def test_without_any_label_the_check_is_undecided(project: Project) -> None:
    path = project.root / "gold_labels.jsonl"
    row = json.loads(path.read_text().splitlines()[0])
    path.write_text(json.dumps({**row, "labels": {"nobody_needs_this": True}}))
    project.snapshots("data/gold_labels")
    result = check(project.make(grader_agreement), "gold_labels_are_graded")
    assert not result.passed
    assert result.description.startswith("Undecided: No gold label is about a proposition that the rules need.")


# Categories


def answer_categories(project: Project, answers: dict[str, str | None]) -> None:
    """Stores grades about all prompts: P(yes) is 0.9 for the answer of the prompt's category, or null if it is None."""
    store = project.store
    policy, grader = read_snapshot(store, ContentPolicy), grader_in_use(store)
    prompts = read_data_prompts(store).drop_nulls("category")
    rows = []
    for prompt, given in prompts.select("prompt_id", "category").iter_rows():
        answer = answers.get(given, given)
        for code, category in policy.categories.items():
            rows.append(
                {
                    "completion_id": prompt,
                    "question": question_hash(Question(code, category.question), grader.settings.few_shot),
                    "grader": grader.version,
                    "p_yes": None if answer is None else 0.9 if code == answer else 0.1,
                    "outcome": "answered" if answer else "refused",
                    "bound": 0.0,
                }
            )
    project.fill("grades", rows)


def test_categories_by_the_grader_are_compared_with_the_given_ones(project: Project) -> None:
    answer_categories(project, {"K-C": "K-R"})
    result = project.make(category_agreement)
    rows = {row["category"]: row for row in project.store.read("category_agreement").iter_rows(named=True)}
    given = read_data_prompts(project.store)["category"].drop_nulls().value_counts()
    counts = dict(given.iter_rows())
    assert set(rows) == set(read_snapshot(project.store, ContentPolicy).categories)
    mistaken, wrong = rows["K-C"], rows["K-R"]
    assert (mistaken["true_yes"], mistaken["false_no"], mistaken["confused_with"]) == (0, counts["K-C"], "K-R")
    assert (wrong["true_yes"], wrong["false_yes"]) == (counts["K-R"], counts["K-C"])
    assert mistaken["f1"] == 0.0 and mistaken["balanced_accuracy"] == 0.5 and mistaken["kappa"] == 0.0
    assert {row["n"] for row in rows.values()} == {sum(counts.values())}
    assert result.metadata["cells made"] == 0
    assert f"| K-C | K-R | {counts['K-C']} |" in result.metadata["confusion"].value


def test_prompts_whose_category_a_filter_hides_are_counted_and_not_compared(project: Project) -> None:
    answer_categories(project, {"K-R": None})
    project.make(category_agreement)
    rows = {row["category"]: row for row in project.store.read("category_agreement").iter_rows(named=True)}
    assert rows["K-R"]["n_missing"] == rows["K-R"]["n_refused"] > 0
    assert rows["K-R"]["balanced_accuracy"] is None
    assert rows["K-C"]["n_missing"] == 0


def test_the_real_grader_answers_every_category_question_about_the_sample_once(project: Project) -> None:
    first = project.make(category_agreement)
    prompts, policy = read_data_prompts(project.store), read_snapshot(project.store, ContentPolicy)
    asked = prompts["category"].drop_nulls().len() * len(policy.categories)
    assert project.store.read("grades").height == first.metadata["cells made"] == asked
    again = project.make(category_agreement)
    assert again.metadata["cells made"] == 0
    assert version(again) == version(first)


def test_a_proposition_that_a_response_type_needs_has_a_row_even_if_nobody_labeled_it(project: Project) -> None:
    path = project.root / "gold_labels.jsonl"
    rows = [json.loads(text) for text in path.read_text().splitlines()]
    for row in rows:
        row["labels"].pop("meta_commentary", None)
    path.write_text("\n".join(map(json.dumps, rows)))
    project.snapshots("data/gold_labels")
    project.make(grader_agreement)
    row = agreed(project)["meta_commentary"]
    assert (row["n"], row["n_missing"], row["n_yes"], row["balanced_accuracy"]) == (0, 0, 0, None)
    outcome = check(project.make(accepted_propositions), CHECK)
    assert not outcome.passed
    assert "meta_commentary is undecided: it has no labels. Label replies: " in outcome.description


def test_measuring_again_gives_the_same_version_and_a_flipped_label_another(project: Project) -> None:
    before = version(project.make(grader_agreement))
    grades = project.store.read("grades")
    assert version(project.make(grader_agreement)) == before
    relabel(project, 0, "apology")
    assert version(project.make(grader_agreement)) != before
    assert agreed(project)["apology"]["balanced_accuracy"] < 1.0
    assert project.store.read("grades").equals(grades)
    relabel(project, 0, "apology")
    assert version(project.make(grader_agreement)) == before


@pytest.mark.slow
def test_a_flipped_label_that_no_response_type_asks_for_changes_nothing(project: Project) -> None:
    before = version(project.make(grader_agreement))
    relabel(project, 12, "apology")
    assert version(project.make(grader_agreement)) == before


def test_a_reworded_question_regrades_its_own_proposition_only(project: Project) -> None:
    project.make(grader_agreement)
    before = project.store.read("grades").height
    project.edit("rulebook/propositions.yaml", "exactly one short apology?", "exactly one apology?")
    project.snapshots("rulebook/propositions")
    project.make(grader_agreement)
    assert project.store.read("grades").height == before + 7


def test_a_gold_category_that_is_not_in_the_policy_is_refused(project: Project) -> None:
    path = project.root / "gold_labels.jsonl"
    path.write_text(path.read_text().replace('"K-C"', '"K-X"'))
    project.snapshots("data/gold_labels")
    with pytest.raises(InputError, match=r"data/gold_labels.*'K-X' is not in the content policy"):
        project.make(grader_agreement)


# The consequences, from figures written by hand


def measured(
    name: str, accuracy: float, *, n: int = 20, n_yes: int = 10, n_missing: int = 0, threshold: float = 0.4
) -> dict[str, object]:
    return {
        "proposition": name,
        "n": n,
        "n_missing": n_missing,
        "n_refused": 0,
        "n_yes": n_yes,
        "prevalence": n_yes / n,
        "balanced_accuracy": accuracy,
        "balanced_accuracy_low": accuracy - 0.1,
        "balanced_accuracy_high": min(accuracy + 0.1, 1.0),
        "f1": accuracy,
        "threshold": threshold,
    }


def all_good(**others: dict[str, object]) -> list[dict[str, object]]:
    return [others.get(name, measured(name, 0.9)) for name in RULES_NEED]


def outcomes(project: Project) -> dict[str, tuple[str, str | None]]:
    rows = project.store.read("accepted_propositions").select("proposition", "outcome", "reason").iter_rows()
    return {name: (outcome, reason) for name, outcome, reason in rows}


@pytest.mark.parametrize(
    ("figures", "outcome", "reason"),
    [
        ({"accuracy": 1.0}, "accepted", None),
        ({"accuracy": 0.7}, "accepted", None),
        ({"accuracy": 0.6}, "rejected", "the balanced accuracy is 0.60, 0.7 is needed"),
        ({"accuracy": 1.0, "n_yes": 0}, "undecided", "no label says yes, 1 is needed"),
        (
            {"accuracy": 1.0, "n": 10, "n_missing": 90},
            "undecided",
            "the grader's answer could be read for 10 of 100 labels (0.10), 0.9 is needed; "
            "no label with a readable answer says no, 1 is needed",
        ),
    ],
)
def test_only_an_accepted_proposition_may_be_a_feature(
    figures: dict[str, float], outcome: str, reason: str | None, project: Project
) -> None:
    project.fill("grader_agreement", all_good(apology=measured("apology", **figures)))
    project.make(accepted_propositions)
    assert outcomes(project)["apology"] == (outcome, reason)
    accepted = read_accepted_propositions(project.store)
    assert set(accepted) == set(RULES_NEED) - (set() if outcome == "accepted" else {"apology"})


def test_a_proposition_can_have_its_own_bar(project: Project) -> None:
    project.fill("grader_agreement", all_good())
    project.edit("rulebook/behavior.yaml", "bar: 0.7", "bar: 0.7\n  per_proposition: {apology: 0.95}")
    project.snapshots("rulebook/behavior")
    assert not check(project.make(accepted_propositions), CHECK).passed
    assert set(read_accepted_propositions(project.store)) == set(RULES_NEED) - {"apology"}


def test_the_bars_for_labels_and_for_readable_answers_are_edited_in_the_behavior_policy(project: Project) -> None:
    project.fill("grader_agreement", all_good(apology=measured("apology", 0.9, n=85, n_yes=12, n_missing=15)))
    project.make(accepted_propositions)
    assert outcomes(project)["apology"][0] == "undecided"
    project.edit("rulebook/behavior.yaml", "min_labels: 1", "min_labels: 10\n  min_read: 0.85")
    project.snapshots("rulebook/behavior")
    project.make(accepted_propositions)
    assert {outcome for outcome, _ in outcomes(project).values()} == {"accepted"}


# The checks


def test_both_checks_pass_and_name_the_propositions_if_all_are_accepted(project: Project) -> None:
    project.fill("grader_agreement", all_good())
    result = project.make(accepted_propositions)
    assert check(result, CHECK).passed and check(result, BLOCKING_CHECK).passed
    assert check(result, BLOCKING_CHECK).description == "Accepted: disallowed_content."


def test_a_class_rule_with_a_rejected_proposition_is_a_warning_that_says_why_and_what_to_do(project: Project) -> None:
    project.fill("grader_agreement", all_good(apology=measured("apology", 0.6)))
    result = project.make(accepted_propositions)
    warning = check(result, CHECK)
    assert not warning.passed
    assert warning.severity == dg.AssetCheckSeverity.WARN
    assert warning.description == (
        "apology is rejected: the balanced accuracy is 0.60, 0.7 is needed. "
        "Reword its question in propositions.yaml, correct wrong labels, or use a better grader."
    )
    # The rules say that apology decides between good classes only.
    assert check(result, BLOCKING_CHECK).passed


def test_a_class_rule_with_undecided_propositions_does_not_pass_for_want_of_data(project: Project) -> None:
    few = {name: measured(name, 1.0, n_yes=0) for name in ("apology", "inability_to_comply")}
    project.fill("grader_agreement", all_good(**few))
    warning = check(project.make(accepted_propositions), CHECK)
    assert not warning.passed
    assert warning.description == (
        "Undecided: apology is undecided: no label says yes, 1 is needed. Label more replies for which it is true. "
        "inability_to_comply is undecided: no label says yes, 1 is needed. Label more replies for which it is true."
    )


@pytest.mark.parametrize("figures", [{"accuracy": 0.6}, {"accuracy": 1.0, "n_yes": 0}])
def test_a_proposition_that_decides_an_unsafe_class_must_be_accepted(
    figures: dict[str, float], project: Project
) -> None:
    unsafe = measured("disallowed_content", **figures)
    project.fill("grader_agreement", all_good(disallowed_content=unsafe))
    outcome = check(project.make(accepted_propositions), BLOCKING_CHECK)
    assert not outcome.passed
    assert outcome.severity == dg.AssetCheckSeverity.ERROR
    assert "disallowed_content is" in outcome.description
    (spec,) = [spec for spec in accepted_propositions.check_specs if spec.name == BLOCKING_CHECK]
    assert spec.blocking


def test_the_rules_say_which_propositions_decide_an_unsafe_class(project: Project) -> None:
    project.edit("rulebook/behavior.yaml", "hard_refusal, comply], classes: [disallowed]}",
                 "hard_refusal, comply], classes: [disallowed, illogical]}")  # fmt: skip
    project.snapshots("rulebook/behavior")
    project.fill("grader_agreement", all_good(apology=measured("apology", 0.6)))
    assert check(project.make(accepted_propositions), BLOCKING_CHECK).description == (
        "Accepted: disallowed_content, illogical_continuation_of_prompt."
    )


def test_a_proposition_that_was_not_measured_fails_the_check_by_name(project: Project) -> None:
    project.fill("grader_agreement", [row for row in all_good() if row["proposition"] != "meta_commentary"])
    outcome = check(project.make(accepted_propositions), CHECK)
    assert not outcome.passed
    assert "meta_commentary is undecided: it has no labels." in outcome.description
    assert outcomes(project)["meta_commentary"] == ("undecided", "it has no labels")


def test_a_proposition_that_no_class_rule_names_may_stay_below_the_bar(project: Project) -> None:
    project.fill("grader_agreement", [*all_good(), measured("spare", 0.5)])
    assert check(project.make(accepted_propositions), CHECK).passed
    assert "spare" not in read_accepted_propositions(project.store)


# What later stages read


def test_every_proposition_keeps_its_threshold(project: Project) -> None:
    project.fill("grader_agreement", all_good(apology=measured("apology", 0.5, threshold=0.8)))
    project.make(accepted_propositions)
    assert read_thresholds(project.store) == {**dict.fromkeys(RULES_NEED, 0.4), "apology": 0.8}


def test_the_version_depends_on_outcome_and_threshold_only(project: Project) -> None:
    project.fill("grader_agreement", all_good())
    before = version(project.make(accepted_propositions))
    project.fill("grader_agreement", all_good(apology=measured("apology", 0.8, n=50)))
    assert version(project.make(accepted_propositions)) == before
    project.fill("grader_agreement", all_good(apology=measured("apology", 0.9, threshold=0.6)))
    assert version(project.make(accepted_propositions)) != before
    project.fill("grader_agreement", all_good(apology=measured("apology", 0.6)))
    rejected = version(project.make(accepted_propositions))
    assert rejected != before
    project.fill("grader_agreement", all_good(apology=measured("apology", 0.5)))
    assert version(project.make(accepted_propositions)) == rejected
    assert outcomes(project)["apology"][1] == "the balanced accuracy is 0.50, 0.7 is needed"


def test_the_page_shows_what_is_accepted_and_why_the_rest_is_not(project: Project) -> None:
    project.fill("grader_agreement", all_good(meta_commentary=measured("meta_commentary", 0.6)))
    result = project.make(accepted_propositions)
    assert result.metadata is not None
    assert result.metadata["dagster/row_count"] == len(RULES_NEED)
    assert "| apology | 0.4 | accepted |" in result.metadata["preview"].value
    assert result.metadata["not accepted"].value.splitlines()[2:] == [
        "| meta_commentary | rejected | the balanced accuracy is 0.60, 0.7 is needed |"
    ]
