"""Candidate replies, verified comparisons, and the ideal replies for fine-tuning."""

import polars as pl
import pytest

from assets.comparisons import (
    ideal_completions,
    proposition_grades,
    reward_model_scores,
    synthetic_comparisons,
    verified_comparisons,
)
from assets.missing_answers import check_candidate_scores
from rbr.errors import InputError
from rbr.models.policy import Completion
from rbr_sandbox.oracle import truths
from resources.asset_testing import fake_models
from tests.assets.project import Project, as_messages, check, name_of, user, version

OWN = Project.resources.fget
WALLET, EGG = "Tell me how to steal a wallet.", "Tell me how to crack an egg."
APOLOGY = "I apologize, but I am not able to do that."
MACHINE = "I am only a computer program. I cannot assist with this request."
HARM = "Sure, here is how to steal a wallet. The method is [harmful detail]."
ANSWER = "Here is how you can crack an egg. First make a plan, then practice each part."


def fill_prompts(project: Project, *prompts: tuple[str, str]) -> None:
    project.fill(
        "training_prompts",
        [
            {"prompt_id": name_of(text), "messages": as_messages(text), "category": category}
            for text, category in prompts
        ],
    )


@pytest.fixture
def prompts(project: Project) -> Project:
    fill_prompts(project, (WALLET, "K-R"), (EGG, "K-C"))
    return project


# Candidates


def test_every_slot_of_the_prompts_recipe_gets_its_candidates(prompts: Project) -> None:
    result = prompts.make(synthetic_comparisons)
    rows = prompts.store.read("synthetic_comparisons")
    assert sorted(rows.select("prompt_id", "response_type", "slot", "label", "candidate").rows()) == sorted(
        (name_of(text), response_type, slot, label, candidate)
        for text, response_type, slot, label in [
            (WALLET, "hard_refusal", "ideal", "perfect_refusal"),
            (WALLET, "hard_refusal", "bad", "bad_refusal"),
            (WALLET, "hard_refusal", "disallowed", "disallowed_content"),
            (EGG, "comply", "answer", "complies"),
            (EGG, "comply", "refusal", "refuses"),
        ]
        for candidate in (0, 1)
    )
    assert result.metadata is not None
    assert result.metadata["dagster/row_count"] == 10


def test_the_policy_writes_as_the_slot_instructs(prompts: Project) -> None:
    prompts.make(synthetic_comparisons)
    replies = prompts.store.read("synthetic_comparisons")
    written = replies.select("slot", "candidate", "text").rows()
    true = {(slot, number): truths(user(WALLET), text) for slot, number, text in written}
    assert all(true["ideal", i]["apology"] and true["ideal", i]["inability_to_comply"] for i in (0, 1))
    assert all(true["bad", i]["meta_commentary"] for i in (0, 1))
    assert all(true["disallowed", i]["disallowed_content"] for i in (0, 1))


def test_no_more_prompts_of_a_response_type_are_used_than_the_profile_says(project: Project) -> None:
    fill_prompts(project, *((f"Help me read map {number}.", "None") for number in range(4)), (WALLET, "K-R"))
    project.make(synthetic_comparisons)
    rows = project.store.read("synthetic_comparisons")
    chosen = rows.group_by("response_type").agg(pl.col("prompt_id").n_unique())
    assert dict(chosen.iter_rows()) == {"comply": 3, "hard_refusal": 1}


@pytest.mark.slow
def test_the_content_policy_says_which_recipe_a_category_gets(prompts: Project) -> None:
    before = version(prompts.make(synthetic_comparisons))
    prompts.edit("rulebook/content_policy.yaml",
                 "crime only to explain or describe it?\n    response_type: comply",
                 "crime only to explain or describe it?\n    response_type: hard_refusal")  # fmt: skip
    prompts.snapshots("rulebook/content_policy")
    assert version(prompts.make(synthetic_comparisons)) != before
    rows = prompts.store.read("synthetic_comparisons")
    assert set(rows["response_type"]) == {"hard_refusal"}
    assert rows.height == 12


def test_a_reverted_instruction_gives_the_same_candidates_and_samples_nothing(prompts: Project) -> None:
    before = version(prompts.make(synthetic_comparisons))
    sampled = prompts.store.read("completions").height
    old, new = "[Answer in full.]", "[Answer only in part.]"
    prompts.edit("rulebook/synthesis.yaml", old, new)
    prompts.snapshots("rulebook/synthesis")
    assert version(prompts.make(synthetic_comparisons)) != before
    assert prompts.store.read("completions").height == sampled + 2
    prompts.edit("rulebook/synthesis.yaml", new, old)
    prompts.snapshots("rulebook/synthesis")
    assert version(prompts.make(synthetic_comparisons)) == before
    assert prompts.store.read("completions").height == sampled + 2


def test_a_reply_of_a_few_tokens_is_cut_and_counted(prompts: Project) -> None:
    prompts.edit("profiles/current.yaml", "max_new_tokens: 48}\n\nfit", "max_new_tokens: 2}\n\nfit")
    prompts.snapshots("profile/synthesis")
    result = prompts.make(synthetic_comparisons)
    assert not prompts.store.read("synthetic_comparisons")["finished"].any()
    assert result.metadata is not None
    assert result.metadata["replies cut off at the token limit"] == 10
    counts = result.metadata["replies cut off at the token limit, by response type"].value
    assert counts.splitlines()[2:] == ["| comply | 4 | 4 |", "| hard_refusal | 6 | 6 |"]


class ThinkingPolicy:
    """Replies in turn with a thought that does not end, with a closing mark alone, and with a special token."""

    def sample(self, conversations, seeds, temperature, top_p, max_new_tokens, on_progress=None):
        kinds = [{"unclosed_thought": True}, {"unopened_thought": True}, {"special_tokens": 2}, {}, {}]
        return [Completion(f"Reply {n}.", 3, True, **kinds[n % len(kinds)]) for n in range(len(conversations))]


def test_unusual_replies_are_counted_also_if_they_are_found_again(
    prompts: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        Project, "resources", property(lambda self: {**OWN(self), "models": fake_models(policy=ThinkingPolicy())})
    )
    first = prompts.make(synthetic_comparisons)
    monkeypatch.setattr(Project, "resources", property(lambda self: {**OWN(self), "models": fake_models()}))
    for result in (first, prompts.make(synthetic_comparisons)):
        assert result.metadata is not None
        assert result.metadata["replies with a thought that does not end"] == 2
        assert result.metadata["replies with a closing mark that ends no thought"] == 2
        assert result.metadata["replies with special tokens inside"] == 2
        counts = result.metadata["thoughts and special tokens, by response type"].value
        assert sum(int(line.split("|")[3]) for line in counts.splitlines()[2:]) == 2


# Grades and scores, on candidates whose truth is plain


def candidate(
    completion_id: str, text: str, slot: str, label: str, *, prompt: str = WALLET, number: int = 0
) -> dict[str, object]:
    return {
        "completion_id": completion_id,
        "prompt_id": name_of(prompt),
        "response_type": "hard_refusal" if prompt == WALLET else "comply",
        "slot": slot,
        "label": label,
        "candidate": number,
        "text": text,
    }


CANDIDATES = [
    candidate("apology", APOLOGY, "ideal", "perfect_refusal"),
    candidate("machine", MACHINE, "bad", "bad_refusal"),
    candidate("harm", HARM, "disallowed", "disallowed_content"),
    candidate("answer", ANSWER, "answer", "complies", prompt=EGG),
]


def test_each_candidate_is_graded_on_what_its_response_type_needs_and_the_grader_is_right(prompts: Project) -> None:
    prompts.fill("synthetic_comparisons", CANDIDATES)
    result = prompts.make(proposition_grades)
    stored = prompts.store.read("proposition_grades").select("completion_id", "proposition", "p_yes")
    grades = {(cell, name): p_yes for cell, name, p_yes in stored.iter_rows()}
    assert len(grades) == 3 * 5 + 3
    assert {name for cell, name in grades if cell == "answer"} == {
        "disallowed_content",
        "illogical_continuation_of_prompt",
        "partially_complies",
    }
    answered_yes = {key for key, p_yes in grades.items() if p_yes > 0.5}
    assert answered_yes == {
        ("apology", "apology"),
        ("apology", "inability_to_comply"),
        ("machine", "meta_commentary"),
        ("machine", "inability_to_comply"),
        ("harm", "disallowed_content"),
        ("answer", "partially_complies"),
    }
    assert result.metadata is not None
    assert (result.metadata["dagster/row_count"], result.metadata["unreadable answers"]) == (18, 0)


def test_a_completion_of_two_slots_is_graded_and_scored_once(prompts: Project) -> None:
    again = candidate("apology", APOLOGY, "another_slot", "perfect_refusal")
    prompts.fill("synthetic_comparisons", [CANDIDATES[0], again])
    prompts.make(proposition_grades)
    prompts.make(reward_model_scores)
    assert prompts.store.read("proposition_grades").height == 5
    assert prompts.store.read("reward_model_scores")["completion_id"].to_list() == ["apology"]


def test_the_helpful_reward_model_prefers_an_answer_to_a_refusal(prompts: Project) -> None:
    refusal = candidate("refusal", APOLOGY, "refusal", "refuses", prompt=EGG)
    prompts.fill("synthetic_comparisons", [*CANDIDATES, refusal])
    result = prompts.make(reward_model_scores)
    scores = dict(prompts.store.read("reward_model_scores").iter_rows())
    assert set(scores) == {"apology", "machine", "harm", "answer", "refusal"}
    assert scores["answer"] > scores["refusal"]
    assert scores["harm"] > scores["apology"]
    assert result.metadata is not None
    assert result.metadata["unscored replies"] == 0


@pytest.mark.slow
def test_grades_and_scores_have_the_same_version_when_they_are_made_again(prompts: Project) -> None:
    prompts.fill("synthetic_comparisons", CANDIDATES)
    for asset in (proposition_grades, reward_model_scores):
        before = version(prompts.make(asset))
        assert version(prompts.make(asset)) == before
    prompts.fill("synthetic_comparisons", CANDIDATES[:-1])
    for asset in (proposition_grades, reward_model_scores):
        assert version(prompts.make(asset)) != before


def test_a_category_without_a_recipe_is_refused_with_the_response_type(prompts: Project) -> None:
    synthesis = prompts.store.snapshot("rulebook/synthesis")
    prompts.store.save_snapshot("rulebook/synthesis", {"comply": synthesis["comply"]}, "0" * 16)
    with pytest.raises(InputError, match="`hard_refusal` has no recipe"):
        prompts.make(synthetic_comparisons)


# Verification, on grades written by hand

TRUE = {
    "ideal": {"apology", "inability_to_comply"},
    "unacceptable": {"apology", "inability_to_comply", "meta_commentary"},
    "illogical": {"illogical_continuation_of_prompt"},
    "disallowed": {"disallowed_content"},
}
ASKED = ("apology", "disallowed_content", "illogical_continuation_of_prompt", "inability_to_comply", "meta_commentary")


def grades_of(completion_id: str, class_name: str, *, sure: float = 0.95) -> list[dict[str, object]]:
    """Grades that put a reply to a hard refusal prompt into a class."""
    return [
        {
            "completion_id": completion_id,
            "proposition": name,
            "p_yes": sure if name in TRUE[class_name] else 1 - sure,
        }
        for name in ASKED
    ]


def accepted(**thresholds: float) -> list[dict[str, object]]:
    return [{"proposition": name, "threshold": thresholds.get(name, 0.5), "outcome": "accepted"} for name in ASKED]


def verified(project: Project, classes: dict[tuple[str, int], str], **thresholds: float) -> dict[str, tuple[int, str]]:
    """Verifies candidates of the given classes; returns the candidate that fills each slot, and its class."""
    labels = {"ideal": "perfect_refusal", "bad": "bad_refusal", "disallowed": "disallowed_content"}
    rows = [candidate(f"{slot}{i}", "A reply.", slot, labels[slot], number=i) for slot, i in classes]
    project.fill("synthetic_comparisons", rows)
    graded = [grade for (slot, i), name in classes.items() for grade in grades_of(f"{slot}{i}", name)]
    project.fill("proposition_grades", graded)
    project.fill("accepted_propositions", accepted(**thresholds))
    project.make(verified_comparisons)
    rows = project.store.read("verified_comparisons").select("slot", "completion_id", "class_name")
    return {slot: (int(cell[-1]), class_name) for slot, cell, class_name in rows.iter_rows()}


def test_a_slot_takes_the_first_candidate_whose_class_the_slot_allows(project: Project) -> None:
    classes = {
        ("ideal", 0): "unacceptable",
        ("ideal", 1): "ideal",
        ("bad", 0): "unacceptable",
        ("bad", 1): "unacceptable",
        ("disallowed", 0): "ideal",
        ("disallowed", 1): "illogical",
    }
    assert verified(project, classes) == {"ideal": (1, "ideal"), "bad": (0, "unacceptable")}


def test_a_class_that_a_slot_newly_allows_fills_it_without_another_grade(project: Project) -> None:
    classes = {("disallowed", 0): "ideal", ("disallowed", 1): "illogical"}
    assert verified(project, classes) == {}
    project.edit("rulebook/synthesis.yaml", "may_be: [disallowed]", "may_be: [disallowed, illogical]")
    project.snapshots("rulebook/synthesis")
    assert verified(project, classes) == {"disallowed": (1, "illogical")}


def test_a_changed_class_rule_applies_to_the_same_grades(project: Project) -> None:
    classes = {("ideal", 0): "unacceptable", ("ideal", 1): "ideal"}
    assert verified(project, classes) == {"ideal": (1, "ideal")}
    project.edit("rulebook/behavior.yaml", " and not meta_commentary\n", "\n")
    project.snapshots("rulebook/behavior")
    assert verified(project, classes) == {"ideal": (0, "ideal")}


def test_a_grade_counts_as_true_from_the_threshold_of_its_proposition(project: Project) -> None:
    classes = {("ideal", 0): "ideal"}
    assert verified(project, classes) == {"ideal": (0, "ideal")}
    assert verified(project, classes, apology=0.99) == {}


def test_a_cut_reply_fills_no_slot_teaches_nothing_and_is_counted(project: Project) -> None:
    fill_prompts(project, (WALLET, "K-R"))
    slots = [("ideal", 0, False), ("ideal", 1, True), ("bad", 0, False)]
    labels = {"ideal": "perfect_refusal", "bad": "bad_refusal"}
    rows = [
        candidate(f"{slot}{i}", f"Reply {i}.", slot, labels[slot], number=i) | {"finished": finished}
        for slot, i, finished in slots
    ]
    project.fill("synthetic_comparisons", rows)
    classes = {"ideal0": "ideal", "ideal1": "ideal", "bad0": "unacceptable"}
    project.fill("proposition_grades", [grade for cell, name in classes.items() for grade in grades_of(cell, name)])
    project.fill("accepted_propositions", accepted())
    result = project.make(verified_comparisons)
    assert project.store.read("verified_comparisons")["completion_id"].to_list() == ["ideal1"]
    assert result.metadata is not None
    assert result.metadata["replies cut off at the token limit"] == 2
    counts = result.metadata["replies cut off at the token limit, by slot"].value
    assert counts.splitlines()[2:] == ["| bad | 1 | 1 |", "| ideal | 2 | 1 |"]
    project.make(ideal_completions)
    assert project.store.read("ideal_completions")["text"].to_list() == ["Reply 1."]


def unread(grades: list[dict[str, object]], *propositions: str) -> list[dict[str, object]]:
    return [{**grade, "p_yes": None} if grade["proposition"] in propositions else grade for grade in grades]


def test_a_candidate_whose_class_depends_on_an_unread_grade_is_skipped_and_counted(project: Project) -> None:
    rows = [candidate(f"ideal{i}", "A reply.", "ideal", "perfect_refusal", number=i) for i in (0, 1)]
    project.fill("synthetic_comparisons", rows)
    graded = [*unread(grades_of("ideal0", "ideal"), "apology"), *grades_of("ideal1", "ideal")]
    project.fill("proposition_grades", graded)
    project.fill("accepted_propositions", accepted())
    result = project.make(verified_comparisons)
    (row,) = project.store.read("verified_comparisons").iter_rows(named=True)
    assert row["completion_id"] == "ideal1"
    assert row["p_class"] == pytest.approx(0.95**5)
    assert result.metadata is not None
    assert result.metadata["candidates without a class"] == 1
    by_type = result.metadata["candidates without a class, by response type"].value
    assert by_type.splitlines()[2:] == ["| hard_refusal | 2 | 1 |"]


def test_few_unread_answers_stop_the_run_if_they_cost_many_candidates_their_class(project: Project) -> None:
    fill_prompts(project, (WALLET, "K-R"))
    rows = [candidate(f"ideal{i}", f"Reply {i}.", "ideal", "perfect_refusal", number=i) for i in range(20)]
    project.fill("synthetic_comparisons", [*rows, {**rows[0], "slot": "bad"}])
    grades = [grade for i in range(20) for grade in grades_of(f"ideal{i}", "ideal")]
    # 2 % of the answers are unread, and 10 % of the candidates have no class.
    project.fill("proposition_grades", [*unread(grades[:10], "apology"), *grades[10:]])
    project.fill("accepted_propositions", accepted())
    outcome = check(project.make(verified_comparisons), "candidates_have_a_class")
    assert not outcome.passed and outcome.severity.value == "ERROR"
    assert outcome.description.startswith(
        "2 of 20 candidates (10.0%) have no class. The bar is 5% (grader.max_unread). Of 100 answers, 2 could not be "
        "read, and a content filter refused 0. Missing answers by proposition: apology (2)."
    )


@pytest.mark.parametrize(
    ("missing", "category", "others", "passed", "words"),
    [
        (10, 100, 0, True, "10 of 100 candidates (10.0%) have no score. The bar is 10%."),
        (11, 100, 0, False, "11 of 100 candidates (11.0%) have no score. The bar is 10%. Prompt and reply are longer"),
        (
            6,
            10,
            90,
            False,
            "6 of 100 candidates (6.0%) have no score. The bar is 10%. Categories above the bar: K-R (6",
        ),
        (1, 2, 98, True, "1 of 100 candidates (1.0%) have no score. The bar is 10%."),
        (0, 0, 0, False, "Undecided: There is no candidate."),
    ],
    ids=["at the bar", "above the bar", "a category surely above", "a category of two", "no candidate"],
)
def test_candidates_without_a_score_are_counted_in_all_and_by_category(
    missing: int, category: int, others: int, passed: bool, words: str
) -> None:
    scores = [None] * missing + [0.0] * (category - missing + others)
    categories = ["K-R"] * category + ["K-C"] * others
    frame = pl.DataFrame(
        {"completion_id": [str(n) for n in range(len(scores))], "category": categories, "score": scores},
        schema={"completion_id": pl.String, "category": pl.String, "score": pl.Float64},
    )
    outcome = check_candidate_scores(frame)
    assert outcome.description.startswith(words)
    assert outcome.passed is passed
    assert outcome.severity.value == "ERROR"


def test_a_reply_that_the_reward_model_cannot_read_fails_the_check_of_the_scores(prompts: Project) -> None:
    prompts.fill("synthetic_comparisons", [CANDIDATES[0], candidate("long", "word " * 2000, "bad", "bad_refusal")])
    outcome = check(prompts.make(reward_model_scores), "candidates_have_a_score")
    assert not outcome.passed
    assert outcome.description.startswith("1 of 2 candidates (50.0%) have no score.")


def test_a_candidate_has_its_class_if_the_unread_grades_cannot_change_it(project: Project) -> None:
    project.fill("synthetic_comparisons", [candidate("harm0", HARM, "disallowed", "disallowed_content")])
    everything_else = [name for name in ASKED if name != "disallowed_content"]
    project.fill("proposition_grades", unread(grades_of("harm0", "disallowed"), *everything_else))
    project.fill("accepted_propositions", accepted())
    result = project.make(verified_comparisons)
    (row,) = project.store.read("verified_comparisons").iter_rows(named=True)
    assert (row["class_name"], row["p_class"]) == ("disallowed", pytest.approx(0.95))
    assert result.metadata is not None
    assert result.metadata["candidates without a class"] == 0


def test_the_page_shows_which_slots_could_be_filled(project: Project) -> None:
    verified(project, {("ideal", 0): "ideal", ("disallowed", 0): "ideal"})
    result = project.make(verified_comparisons)
    assert result.metadata is not None
    assert result.metadata["dagster/row_count"] == 1
    lines = result.metadata["filled slots"].value.splitlines()[2:]
    assert sorted(lines) == ["| hard_refusal | disallowed | 1 | 0 |", "| hard_refusal | ideal | 1 | 1 |"]


# Ideal replies


def compared(project: Project, *rows: tuple[str, str, str]) -> None:
    """Verified replies (completion, slot, label) with texts, to the prompts that were filled in."""
    candidates = [
        candidate(cell, f"Text of {cell}.", slot, label, prompt=EGG if label in ("complies", "refuses") else WALLET)
        for cell, slot, label in rows
    ]
    project.fill("synthetic_comparisons", candidates)
    project.fill("verified_comparisons", [{**row, "class_name": "ideal", "p_class": 1.0} for row in candidates])


BEST = (("apology", "ideal", "perfect_refusal"), ("answer", "answer", "complies"))


def test_only_replies_of_the_best_label_are_ideal(prompts: Project) -> None:
    compared(prompts, *BEST, ("machine", "bad", "bad_refusal"), ("refusal", "refusal", "refuses"))
    result = prompts.make(ideal_completions)
    rows = prompts.store.read("ideal_completions").select("completion_id", "text", "messages", "response_type")
    assert sorted(rows.iter_rows()) == [
        ("answer", "Text of answer.", as_messages(EGG), "comply"),
        ("apology", "Text of apology.", as_messages(WALLET), "hard_refusal"),
    ]
    assert result.metadata is not None
    assert result.metadata["dagster/row_count"] == 2


def test_a_new_bad_reply_does_not_change_the_ideal_replies_but_a_new_ideal_reply_does(prompts: Project) -> None:
    compared(prompts, *BEST, ("machine", "bad", "bad_refusal"), ("harm", "disallowed", "disallowed_content"))
    before = version(prompts.make(ideal_completions))
    compared(prompts, *BEST, ("scolding", "bad", "bad_refusal"))
    assert version(prompts.make(ideal_completions)) == before
    compared(prompts, ("other", "ideal", "perfect_refusal"), BEST[1])
    assert version(prompts.make(ideal_completions)) != before


def test_a_new_margin_does_not_change_the_ideal_replies_but_a_new_best_rank_does(prompts: Project) -> None:
    compared(prompts, *BEST, ("machine", "bad", "bad_refusal"))
    before = version(prompts.make(ideal_completions))
    prompts.edit("rulebook/behavior.yaml", "{perfect_refusal: 1.0}", "{perfect_refusal: 3.0}")
    prompts.snapshots("rulebook/behavior")
    assert version(prompts.make(ideal_completions)) == before
    prompts.edit("rulebook/behavior.yaml", "[[perfect_refusal], [bad_refusal],", "[[perfect_refusal, bad_refusal],")
    prompts.snapshots("rulebook/behavior")
    assert version(prompts.make(ideal_completions)) != before
    assert prompts.store.read("ideal_completions").height == 3


def test_a_reply_that_fills_two_ideal_slots_is_one_row(prompts: Project) -> None:
    compared(prompts, *BEST, ("apology", "ideal_again", "perfect_refusal"))
    prompts.make(ideal_completions)
    assert prompts.store.read("ideal_completions").height == 2


def test_without_verified_comparisons_there_are_no_ideal_replies(prompts: Project) -> None:
    compared(prompts)
    prompts.make(ideal_completions)
    assert prompts.store.read("ideal_completions").is_empty()
