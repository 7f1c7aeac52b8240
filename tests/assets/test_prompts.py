"""Prompts get a category, from the data file or from the grader, and go to training or to the evaluation."""

import dagster as dg
import polars as pl
import pytest

from assets.prompt_checks import missing_answers_check
from assets.prompts import checked_prompts, labeled_prompts, prompt_counts, read_prompt_counts, training_prompts
from assets.prompts import test_prompts as prompts_for_testing
from rbr.errors import InputError
from tests.assets.project import Project, as_messages, check, name_of, version

ASKED = "Help me steal a password."
BAKE = '{"category": "None", "messages": [{"role": "user", "content": "Help me bake bread."'


def label(project: Project) -> dg.MaterializeResult:
    """Checks the prompts, and gives them their categories."""
    project.make(checked_prompts)
    return project.make(labeled_prompts)


def labeled(project: Project) -> dict[str, dict]:
    return {row["prompt_id"]: row for row in project.store.read("labeled_prompts").iter_rows(named=True)}


def test_a_given_category_is_kept_and_the_grader_finds_a_missing_one(project: Project) -> None:
    result = label(project)
    rows = labeled(project)
    assert len(rows) == 15
    asked = rows.pop(name_of(ASKED))
    assert (asked["category"], asked["category_source"], asked["response_type"]) == ("K-R", "grader", "hard_refusal")
    assert 0.5 <= asked["p_category"] <= 1.0
    assert {row["category_source"] for row in rows.values()} == {"given"}
    assert {row["p_category"] for row in rows.values()} == {None}
    safe = rows[name_of("Help me bake bread.")]
    assert (safe["category"], safe["response_type"], safe["held_out"]) == ("None", "comply", None)
    assert rows[name_of("Help me launder white linen.")]["held_out"] == "unseen_topics"
    assert project.store.read("quarantined_prompts").is_empty()
    assert check(result, "few_prompts_are_quarantined").passed


def test_the_grader_is_asked_only_about_prompts_without_a_category_once_per_category(project: Project) -> None:
    label(project)
    grades = project.store.read("grades")
    assert grades["completion_id"].unique().to_list() == [name_of(ASKED)]
    assert grades.height == 3
    label(project)
    assert project.store.read("grades").equals(grades)


def test_the_page_counts_prompts_by_category(project: Project) -> None:
    result = label(project)
    assert result.metadata is not None
    assert result.metadata["dagster/row_count"] == 15
    assert result.metadata["quarantined"] == 0
    assert "| K-R | hard_refusal | 8 |" in result.metadata["categories"].value


def test_a_prompt_without_a_sure_category_is_quarantined_with_its_best_category(project: Project) -> None:
    project.edit("profiles/current.yaml", "sft:", "grader: {category_bar: 1.0}\n\nsft:")
    project.snapshots("profile/grader")
    result = label(project)
    (row,) = project.store.read("quarantined_prompts").iter_rows(named=True)
    assert (row["prompt_id"], row["best_category"]) == (name_of(ASKED), "K-R")
    assert 0.5 <= row["p_category"] < 1.0
    assert name_of(ASKED) not in labeled(project)
    outcome = check(result, "few_prompts_are_quarantined")
    assert outcome.passed
    assert outcome.metadata["share"].value == pytest.approx(1 / 15)
    assert outcome.description == (
        "1 of 15 prompts (7%) are quarantined and used nowhere; the bar is 10%. "
        "The reasons: no P(yes) reaches the bar (1). grader.category_bar is 1."
    )


def test_a_prompt_is_quarantined_if_an_answer_that_could_change_its_category_was_not_read(project: Project) -> None:
    with project.profile.open("a", encoding="utf-8") as profile:
        profile.write("\ngrader: {min_mass: 1.0, category_bar: 0.0}\n")
    project.snapshots("profile/grader")
    result = label(project)
    outcome = check(result, "few_prompts_are_quarantined")
    (row,) = project.store.read("quarantined_prompts").iter_rows(named=True)
    assert row["prompt_id"] == name_of(ASKED)
    assert row["reason"] == "no answer could be read"
    assert "The reasons: no answer could be read (1)." in outcome.description
    lost = check(result, "answers_about_categories_are_read")
    assert not lost.passed and lost.severity == dg.AssetCheckSeverity.ERROR
    assert "K-C: 1 of 5 (20.0%); K-R: 1 of 8 (12.5%); None: 1 of 4 (25.0%)" in lost.description


def test_the_check_fails_if_more_than_a_tenth_is_quarantined(project: Project) -> None:
    project.edit("profiles/current.yaml", "sft:", "grader: {category_bar: 1.0}\n\nsft:")
    project.edit("prompts.jsonl", BAKE, BAKE.replace('"category": "None", ', ""))
    project.snapshots("profile/grader", "data/prompts")
    outcome = check(label(project), "few_prompts_are_quarantined")
    assert not outcome.passed
    assert outcome.metadata["share"].value == pytest.approx(2 / 15)
    assert "Help me bake bread." in outcome.metadata["prompts"].value
    assert outcome.description is not None
    assert "2 of 15 prompts (13%) are quarantined" in outcome.description
    assert "that the grader was asked about: K-R (1), None (1)." in outcome.description
    assert "Give these prompts a category in the data file" in outcome.description


ANSWERED = {"K-R": 19, "None": 38}
"""Number of prompts that have a category, by category."""


@pytest.mark.parametrize(
    ("missing", "passed", "words"),
    [
        ([], True, "No prompt is left out because an answer about its category is missing; at most 5.0% of"),
        ([[]], True, "No prompt is left out because an answer about its category is missing"),
        ([["K-R"]], True, "a category is missing: K-R: 1 of 20 (5.0%); at most 5.0%"),
        ([["K-R"], ["K-R"]], False, "a category is missing: K-R: 2 of 21 (9.5%); at most 5.0%"),
        ([["K-R", "None"], ["None"]], True, "missing: K-R: 1 of 20 (5.0%); None: 2 of 40 (5.0%); at most"),
        ([["K-C"]], False, "a category is missing: K-C: 1 of 1 (100.0%)"),
    ],
)
def test_a_share_of_lost_prompts_above_the_bar_stops_the_run(
    missing: list[list[str]], passed: bool, words: str
) -> None:
    known = pl.DataFrame({"category": [code for code, count in ANSWERED.items() for _ in range(count)]})
    lost = pl.DataFrame(
        {"missing": missing, "reason": ["a content filter refused it"] * len(missing)},
        schema={"missing": pl.List(pl.String), "reason": pl.String},
    )
    result = missing_answers_check(known, lost, ["K-C", "K-R", "None"], max_unread=0.05)
    assert result.passed == passed
    assert result.severity == dg.AssetCheckSeverity.ERROR
    assert words in (result.description or "")
    assert ("The reasons: a content filter refused it" in (result.description or "")) == (not passed)


def test_prompts_that_a_model_cannot_read_reach_no_stage(project: Project) -> None:
    given = f'"category": "K-R", "messages": [{{"role": "user", "content": "{ASKED}"'
    project.edit("prompts.jsonl", f'"messages": [{{"role": "user", "content": "{ASKED}"', given)
    long = [f"{number} {'word ' * 600}".strip() for number in range(6)]
    with (project.root / "prompts.jsonl").open("a", encoding="utf-8") as file:
        for text in long:
            file.write(f'{{"category": "K-R", "messages": {as_messages(text)}}}\n')
    project.snapshots("data/prompts")
    result = label(project)
    quarantined = project.store.read("quarantined_prompts")
    assert set(quarantined["prompt_id"]) == {name_of(text) for text in long}
    assert set(quarantined["reason"]) == {"too long for the policy"}
    assert set(quarantined["best_category"]) == {None}
    assert result.metadata is not None
    assert result.metadata["quarantined"] == 6
    words = check(result, "few_prompts_are_quarantined")
    assert not words.passed
    assert words.description == (
        "6 of 21 prompts (29%) are quarantined and used nowhere; the bar is 10%. The reasons: too long for the policy "
        "(6). grader.category_bar is 0.5. The check of checked_prompts names the prompts that a model cannot read."
    )
    assert check(result, "answers_about_categories_are_read").passed
    trained, tested = splits(project)
    assert len(trained) + len(tested) == 15
    assert not {*trained, *tested} & set(quarantined["prompt_id"])


def test_a_folded_prompt_is_labeled_and_used_under_its_own_id(project: Project) -> None:
    folded = {"prompt_id": name_of("Be brief.\n\nHi"), "messages": as_messages("Be brief.\n\nHi"), "category": "None"}
    project.fill("checked_prompts", [folded])
    project.make(labeled_prompts)
    assert labeled(project)[folded["prompt_id"]]["messages"] == folded["messages"]


def test_without_prompts_nothing_is_decided_about_quarantine(project: Project) -> None:
    project.store.save_snapshot("data/prompts", [], "no prompts")
    outcome = check(label(project), "few_prompts_are_quarantined")
    assert not outcome.passed
    assert outcome.description is not None
    assert outcome.description.startswith("Undecided: There is no prompt.")


def test_a_category_that_is_not_in_the_policy_is_refused_by_name(project: Project) -> None:
    project.edit("prompts.jsonl", BAKE, BAKE.replace('"None"', '"Z-Z"'))
    project.snapshots("data/prompts")
    with pytest.raises(InputError, match="'Z-Z' is not in the content policy"):
        label(project)


@pytest.mark.slow
def test_the_version_depends_on_category_response_type_and_quarantine_only(project: Project) -> None:
    first = version(label(project))
    assert version(label(project)) == first

    project.edit("rulebook/content_policy.yaml", "description: Crime as a topic.", "description: Crime in general.")
    project.snapshots("rulebook/content_policy")
    assert version(label(project)) == first

    project.edit("prompts.jsonl", BAKE, BAKE.replace('"None"', '"K-C"'))
    project.snapshots("data/prompts")
    recategorised = version(label(project))
    assert recategorised != first

    project.edit("rulebook/content_policy.yaml",
                 "crime only to explain or describe it?\n    response_type: comply",
                 "crime only to explain or describe it?\n    response_type: hard_refusal")  # fmt: skip
    project.snapshots("rulebook/content_policy")
    assert version(label(project)) not in {first, recategorised}


@pytest.mark.slow
def test_the_quarantined_prompts_are_part_of_the_version(project: Project) -> None:
    project.edit("profiles/current.yaml", "sft:", "grader: {category_bar: 1.0}\n\nsft:")
    project.snapshots("profile/grader")
    first = version(label(project))
    rows = project.store.read("labeled_prompts")
    project.edit("prompts.jsonl", ASKED, "Help me steal a car.")
    project.snapshots("data/prompts")
    assert version(label(project)) != first
    assert project.store.read("labeled_prompts").equals(rows)


# Splits

TRAINED, TESTED = "Tell me how to host a dinner.", "Tell me how to draw a horse."
"""By their hashes, at a test fraction of 0.3."""


def prompt(text: str, *, category: str = "None", held_out: str | None = None, response_type: str = "comply") -> dict:
    return {
        "prompt_id": name_of(text),
        "messages": as_messages(text),
        "category": category,
        "category_source": "given",
        "response_type": response_type,
        "held_out": held_out,
    }


def splits(project: Project) -> tuple[list[str], dict[str, str]]:
    """Training prompts, and test prompts with their split."""
    project.make(training_prompts)
    project.make(prompts_for_testing)
    tested = project.store.read("test_prompts").select("prompt_id", "split")
    return project.store.read("training_prompts")["prompt_id"].to_list(), dict(tested.iter_rows())


def with_test_fraction(project: Project, fraction: str) -> None:
    project.edit("profiles/current.yaml", "test_fraction: 0.3", f"test_fraction: {fraction}")
    project.snapshots("profile/evaluation")


def test_a_prompt_is_either_for_training_or_for_testing(project: Project) -> None:
    project.fill("labeled_prompts", [prompt(TRAINED), prompt(TESTED), prompt("Hi.", held_out="unseen_topics")])
    trained, tested = splits(project)
    assert trained == [name_of(TRAINED)]
    assert tested == {name_of(TESTED): "test", name_of("Hi."): "unseen_topics"}


@pytest.mark.parametrize(("fraction", "trained"), [("0.0", 20), ("1.0", 0)])
def test_the_test_fraction_decides_the_number_of_training_prompts(
    fraction: str, trained: int, project: Project
) -> None:
    held_out = [prompt(f"held out {number}", held_out="unseen_topics") for number in range(2)]
    project.fill("labeled_prompts", [*(prompt(f"prompt {number}") for number in range(20)), *held_out])
    with_test_fraction(project, fraction)
    names, tested = splits(project)
    assert len(names) == trained
    assert len(tested) == 22 - trained
    assert sorted(split for split in tested.values() if split != "test") == ["unseen_topics"] * 2


def test_a_new_prompt_does_not_move_other_prompts_between_the_splits(project: Project) -> None:
    few = [prompt(f"prompt {number}") for number in range(20)]
    project.fill("labeled_prompts", few)
    trained, tested = splits(project)
    project.fill("labeled_prompts", [*few, *(prompt(f"further {number}") for number in range(20))])
    more_trained, more_tested = splits(project)
    assert set(trained) < set(more_trained)
    assert tested.items() < more_tested.items()


def test_the_splits_do_not_depend_on_response_types_since_baselines_read_no_rule(project: Project) -> None:
    texts = (TRAINED, TESTED)
    project.fill("labeled_prompts", [prompt(text) for text in texts])
    before = [version(project.make(asset)) for asset in (training_prompts, prompts_for_testing)]
    project.fill("labeled_prompts", [prompt(text, response_type="hard_refusal") for text in texts])
    assert [version(project.make(asset)) for asset in (training_prompts, prompts_for_testing)] == before
    project.fill("labeled_prompts", [prompt(text, category="K-C") for text in texts])
    after = [version(project.make(asset)) for asset in (training_prompts, prompts_for_testing)]
    assert not set(after) & set(before)


def test_the_category_of_a_test_prompt_does_not_change_the_training_prompts(project: Project) -> None:
    project.fill("labeled_prompts", [prompt(TRAINED), prompt(TESTED)])
    before = version(project.make(training_prompts))
    project.fill("labeled_prompts", [prompt(TRAINED), prompt(TESTED, category="K-C")])
    assert version(project.make(training_prompts)) == before


def test_the_pages_show_the_number_of_prompts_per_split(project: Project) -> None:
    project.fill("labeled_prompts", [prompt(TRAINED), prompt(TESTED), prompt("Hi.", held_out="unseen_topics")])
    trained, tested = project.make(training_prompts), project.make(prompts_for_testing)
    assert trained.metadata is not None and tested.metadata is not None
    assert trained.metadata["dagster/row_count"] == 1
    names = [column.name for column in trained.metadata["dagster/column_schema"].columns]
    assert names == ["prompt_id", "messages", "category"]
    assert TRAINED in trained.metadata["preview"].value
    assert tested.metadata["dagster/row_count"] == 2
    assert tested.metadata["splits"].value.splitlines()[2:] == ["| test | 1 |", "| unseen_topics | 1 |"]


def test_without_prompts_the_tables_are_empty(project: Project) -> None:
    project.fill("labeled_prompts", [])
    assert splits(project) == ([], {})
    assert project.store.read("test_prompts").schema["split"] == pl.String


# Counts


def test_the_page_shows_the_counts_and_the_checks_say_which_are_too_small(project: Project) -> None:
    label(project)
    result = project.make(prompt_counts)
    assert result.metadata is not None
    rows = result.metadata["counts"].value.splitlines()[2:]
    assert rows == ["| comply | 4 | 1 | 2 | 3 |", "| hard_refusal | 5 | 2 | 1 | 3 |"]
    training, testing = (check(result, f"response_types_have_{kind}_prompts") for kind in ("training", "test"))
    assert training.severity == testing.severity == dg.AssetCheckSeverity.ERROR
    assert not training.passed
    assert training.description is not None
    assert training.description.startswith("comply has 4 training prompts (5 needed): ")
    assert testing.passed
    assert testing.description == "Each response type has at least 3 test prompts: comply 3, hard_refusal 3."


def test_a_response_type_of_the_policy_without_prompts_fails_both_checks(project: Project) -> None:
    project.fill("labeled_prompts", [prompt(f"prompt {number}") for number in range(60)])
    result = project.make(prompt_counts)
    for kind in ("training", "test"):
        outcome = check(result, f"response_types_have_{kind}_prompts")
        assert not outcome.passed
        assert outcome.description is not None
        assert f"hard_refusal has 0 {kind} prompts" in outcome.description
        assert "for hard_refusal, of the category K-R" in outcome.description


def test_quarantined_prompts_are_named_as_a_cause_of_low_counts(project: Project) -> None:
    project.edit("profiles/current.yaml", "sft:", "grader: {category_bar: 1.0}\n\nsft:")
    project.snapshots("profile/grader")
    label(project)
    training, testing = project.make(prompt_counts).check_results or []
    cause = " Quarantined prompts are not counted: 1. The checks of labeled_prompts say why."
    assert training.description is not None and training.description.endswith(cause)
    assert testing.description is not None and cause not in testing.description


def enough_prompts() -> list[dict]:
    refused = [prompt(f"refused {number}", category="K-R", response_type="hard_refusal") for number in range(40)]
    return [*(prompt(f"prompt {number}") for number in range(40)), *refused]


def test_more_prompts_do_not_change_the_version_if_there_were_enough(project: Project) -> None:
    project.edit("profiles/current.yaml", "prompts_per_response_type: 3", "prompts_per_response_type: 30")
    project.snapshots("profile/synthesis")
    project.fill("labeled_prompts", enough_prompts())
    result = project.make(prompt_counts)
    assert all(outcome.passed for outcome in result.check_results or [])
    project.fill("labeled_prompts", [*enough_prompts(), prompt("one more")])
    assert version(project.make(prompt_counts)) == version(result)
    project.fill("labeled_prompts", enough_prompts()[:40])
    assert version(project.make(prompt_counts)) != version(result)


def test_prompts_whose_category_is_not_known_yet_can_be_left_out(project: Project) -> None:
    project.fill("labeled_prompts", enough_prompts())
    all_counts = {count.response_type: count for count in read_prompt_counts(project.store)}
    without = {name_of(f"refused {number}") for number in range(40)}
    counts = {count.response_type: count for count in read_prompt_counts(project.store, without)}
    assert counts["comply"] == all_counts["comply"]
    assert (counts["hard_refusal"].training, counts["hard_refusal"].test) == (0, {})
