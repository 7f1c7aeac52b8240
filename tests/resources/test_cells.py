"""Cells are made once: only missing cells are made, and cells that were made are never lost."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from rbr.comparisons.completion_ids import completion_seed
from rbr.conversation import Conversation
from rbr.errors import InputError
from rbr.grading import Answer, Answers, OnProgress, Outcome, Question
from rbr.grading.chunks import BATCHES_PER_CHUNK
from rbr.grading.identity import grader_fingerprint
from rbr.grading.prompt import compile_prompt
from rbr.models.policy import Completion
from rbr.profile import GraderSettings, ModelRef
from resources.asset_testing import fake_models
from resources.cells import Cells, name_completions
from resources.grade_rows import prompt_length
from resources.models import GraderInUse, PolicyInUse, RewardModelInUse, Sampling
from resources.progress import Progress
from resources.state.state_format import mark_state
from resources.store import Store
from resources.store.snapshot_content import PinnedModel
from tests.assets.project import name_of, user
from tests.rbr.grading.grader_settings import grader_settings

SAMPLING = Sampling(temperature=1.0, top_p=1.0, max_new_tokens=8, seed=0)
REF = ModelRef(path="nowhere", revision=None)
ONE_AT_A_TIME = grader_settings(batch_size=1)


class SpellingPolicy:
    """Replies with the last turn of the prompt and the seed, so that a test can check both."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.asked: list[list[str]] = []
        self._fail_at = fail_at

    def sample(
        self,
        conversations: Sequence[Conversation],
        seeds: Sequence[int],
        temperature: float,
        top_p: float,
        max_new_tokens: int,
        on_progress: Callable[[int], None] | None = None,
    ) -> list[Completion]:
        self.asked.append([messages[-1]["content"] for messages in conversations])
        if len(self.asked) == self._fail_at:
            raise KeyboardInterrupt
        return [
            Completion(f"{text} {seed}", len(text), finished=True)
            for text, seed in zip(self.asked[-1], seeds, strict=True)
        ]


class CountingGrader:
    """Answers by the length of reply and question, records the questions, and may stop part-way.

    `outcomes` are the outcomes of all questions about some replies, by reply. The others are answered.
    """

    def __init__(self, fail_at: int | None = None, outcomes: dict[str, Outcome] | None = None) -> None:
        self.asked: list[tuple[str, str]] = []
        self.calls = 0
        self._fail_at = fail_at
        self.outcomes = outcomes or {}

    def grade(
        self,
        conversations: Sequence[Conversation],
        questions: Sequence[Question],
        on_progress: OnProgress | None = None,
    ) -> Answers:
        self.calls += 1
        if self.calls == self._fail_at:
            raise KeyboardInterrupt
        answers = Answers.none(len(conversations), len(questions))
        for row, messages in enumerate(conversations):
            for column, question in enumerate(questions):
                self.asked.append((messages[-1]["content"], question.text))
                answers[row, column] = self._answer(messages[-1]["content"], question.text)
        return answers

    def _answer(self, reply: str, question: str) -> Answer:
        outcome = self.outcomes.get(reply, Outcome.ANSWERED)
        if outcome == Outcome.ANSWERED:
            return Answer(outcome, 1 / (1 + len(reply) + len(question)), bound=0.001)
        return Answer(outcome, reason=f"{outcome} on purpose")


class LengthScorer:
    """Scores a reply by its length."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.asked: list[str] = []
        self.calls = 0
        self._fail_at = fail_at

    def score(
        self,
        conversations: Sequence[Conversation],
        replies: Sequence[str],
        on_progress: Callable[[int], None] | None = None,
    ) -> NDArray[np.float64]:
        self.calls += 1
        if self.calls == self._fail_at:
            raise KeyboardInterrupt
        self.asked += replies
        return np.array([float(len(reply)) if reply else np.nan for reply in replies])


@pytest.fixture
def cells(tmp_path: Path) -> Cells:
    store = Store(path=str(tmp_path / "rbr.duckdb"))
    return Cells(store, fake_models(), Progress(directory=str(tmp_path / "progress")), "an_asset")


# Completions


def prompts(*texts: str) -> dict[str, Conversation]:
    return {name_of(text): user(text) for text in texts}


def plan(*texts: str, instruction: str = "", candidates: int = 1) -> pl.DataFrame:
    rows = [(name_of(text), instruction, candidate) for text in texts for candidate in range(candidates)]
    return pl.DataFrame(rows, schema=["prompt_id", "instruction", "candidate"], orient="row")


def policy_in_use(fingerprint: str = "p", sampling: Sampling = SAMPLING, batch_size: int = 2) -> PolicyInUse:
    return PolicyInUse(PinnedModel(REF, fingerprint), sampling, batch_size)


def sample(
    cells: Cells,
    wanted: pl.DataFrame,
    messages: dict[str, Conversation],
    model: SpellingPolicy | None,
    **in_use: Any,
) -> list[str]:
    """Samples with `model`; None asserts that no policy is opened."""
    with_model = replace(cells, models=fake_models(policy=model))
    return with_model.sample(wanted, messages, policy_in_use(**in_use))["text"].to_list()


def test_a_completion_is_sampled_once(cells: Cells) -> None:
    messages = prompts("one", "two")
    first = sample(cells, plan("one", "two"), messages, SpellingPolicy())
    assert [text.split()[0] for text in first] == ["one", "two"]
    assert sample(cells, plan("one", "two"), messages, None) == first


def test_only_missing_completions_are_sampled_and_all_are_returned_in_order(cells: Cells) -> None:
    messages = prompts("one", "two", "three")
    sample(cells, plan("two"), messages, SpellingPolicy())
    policy = SpellingPolicy()
    texts = sample(cells, plan("three", "two", "one"), messages, policy)
    assert policy.asked == [["three", "one"]]
    assert [text.split()[0] for text in texts] == ["three", "two", "one"]


def test_the_instruction_is_rendered_into_the_prompt_and_the_seed_is_the_completions_own(cells: Cells) -> None:
    messages = prompts("one")
    wanted = plan("one", instruction="Be brief.")
    (completion_id,) = name_completions(wanted, messages, policy_in_use())["completion_id"]
    assert sample(cells, wanted, messages, SpellingPolicy()) == [f"one\n\nBe brief. {completion_seed(completion_id)}"]


def test_rows_with_the_same_completion_share_it(cells: Cells) -> None:
    messages = prompts("one")
    policy = SpellingPolicy()
    texts = sample(cells, pl.concat([plan("one"), plan("one")]), messages, policy)
    assert policy.asked == [["one"]]
    assert len(texts) == 2 and texts[0] == texts[1]


def test_a_reverted_instruction_finds_its_completions(cells: Cells) -> None:
    messages = prompts("one")
    first = sample(cells, plan("one", instruction="A."), messages, SpellingPolicy())
    sample(cells, plan("one", instruction="B."), messages, SpellingPolicy())
    assert sample(cells, plan("one", instruction="A."), messages, None) == first


@pytest.mark.parametrize(
    "changed",
    [
        {"fingerprint": "another"},
        {"sampling": Sampling(0.5, 1.0, 8, 0)},
        {"sampling": Sampling(1.0, 0.9, 8, 0)},
        {"sampling": Sampling(1.0, 1.0, 9, 0)},
        {"sampling": Sampling(1.0, 1.0, 8, 1)},
    ],
    ids=["policy", "temperature", "top_p", "max_new_tokens", "seed"],
)
def test_another_policy_or_setting_makes_another_completion_and_keeps_the_first(cells: Cells, changed: dict) -> None:
    messages = prompts("one")
    first = sample(cells, plan("one"), messages, SpellingPolicy())
    policy = SpellingPolicy()
    assert sample(cells, plan("one"), messages, policy, **changed) != first
    assert len(policy.asked) == 1
    assert sample(cells, plan("one"), messages, None) == first


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_the_batch_size_changes_no_completion(cells: Cells, batch_size: int, tmp_path: Path) -> None:
    messages = prompts(*"abcdefghijk")
    expected = sample(cells, plan(*messages_texts(messages)), messages, SpellingPolicy(), batch_size=3)
    other = replace(cells, store=Store(path=str(tmp_path / "other.duckdb")))
    assert sample(other, plan(*messages_texts(messages)), messages, SpellingPolicy(), batch_size=batch_size) == expected


def messages_texts(messages: dict[str, Conversation]) -> list[str]:
    return [turns[-1]["content"] for turns in messages.values()]


def test_an_interruption_keeps_the_completions_of_the_chunks_that_were_done(cells: Cells) -> None:
    texts = [f"prompt {number}" for number in range(3 * BATCHES_PER_CHUNK)]
    messages = prompts(*texts)
    with pytest.raises(KeyboardInterrupt):
        sample(cells, plan(*texts), messages, SpellingPolicy(fail_at=3), batch_size=1)
    assert cells.store.read("completions").height == 2 * BATCHES_PER_CHUNK
    policy = SpellingPolicy()
    sample(cells, plan(*texts), messages, policy, batch_size=1)
    assert policy.asked == [texts[2 * BATCHES_PER_CHUNK :]]


# Grades

APOLOGY = Question("apology", "Is it an apology?")
REFUSAL = Question("refusal", "Does it refuse, then?")
QUESTIONS = {"apology": APOLOGY, "refusal": REFUSAL}


def replies(*texts: str) -> dict[str, Conversation]:
    return {f"c-{text}": [*user("Hello."), {"role": "assistant", "content": text}] for text in texts}


def grade(
    cells: Cells,
    conversations: dict[str, Conversation],
    model: CountingGrader | None,
    questions: dict[str, Question] = QUESTIONS,
    *,
    asked: dict[str, list[str]] | None = None,
    fingerprint: str = "g",
    settings: GraderSettings = ONE_AT_A_TIME,
) -> pl.DataFrame:
    """Grades with `model`; None asserts that no grader is opened."""
    names = asked or {cell: list(questions) for cell in conversations}
    return replace(cells, models=fake_models(grader=model)).grade(
        conversations,
        {cell: [questions[name] for name in names_of_cell] for cell, names_of_cell in names.items()},
        GraderInUse(PinnedModel(REF, fingerprint), settings),
    )


def test_a_question_is_asked_once(cells: Cells) -> None:
    first = grade(cells, replies("a", "bb"), CountingGrader())
    assert first.select("completion_id", "proposition").rows() == [
        ("c-a", "apology"),
        ("c-a", "refusal"),
        ("c-bb", "apology"),
        ("c-bb", "refusal"),
    ]
    assert grade(cells, replies("a", "bb"), None).equals(first)


def test_only_the_missing_answers_are_asked_for(cells: Cells) -> None:
    grade(cells, replies("a", "bb"), CountingGrader(), {"apology": APOLOGY})
    grader = CountingGrader()
    table = grade(cells, replies("a", "bb", "ccc"), grader)
    assert set(grader.asked) == {
        ("a", REFUSAL.text),
        ("bb", REFUSAL.text),
        ("ccc", APOLOGY.text),
        ("ccc", REFUSAL.text),
    }
    assert len(grader.asked) == 4
    assert table.height == 6 and table["p_yes"].null_count() == 0


def test_each_reply_has_its_own_list_of_questions(cells: Cells) -> None:
    asked = {"c-a": ["apology"], "c-bb": ["refusal"]}
    table = grade(cells, replies("a", "bb"), CountingGrader(), asked=asked)
    assert table.select("completion_id", "proposition").rows() == [("c-a", "apology"), ("c-bb", "refusal")]


def test_every_reply_gets_its_own_answer(cells: Cells) -> None:
    table = grade(cells, replies("a", "bb", "ccc"), CountingGrader())
    values = {(cell, name): p_yes for cell, name, p_yes in table.drop("outcome", "mass").iter_rows()}
    for text in ("a", "bb", "ccc"):
        for name, question in QUESTIONS.items():
            assert values[f"c-{text}", name] == 1 / (1 + len(text) + len(question.text))


def test_the_mass_that_was_seen_is_kept_with_each_answer(cells: Cells) -> None:
    class Massive(CountingGrader):
        def grade(self, *args: Any, **kwargs: Any) -> Answers:
            answers = super().grade(*args, **kwargs)
            answers[0, 0] = Answer(Outcome.UNREADABLE, reason="'The' 0.8", mass=0.2)
            answers[0, 1] = Answer(Outcome.REFUSED, reason="filtered")
            return answers

    table = grade(cells, replies("a"), Massive())
    assert table.select("outcome", "mass").rows() == [("unreadable", 0.2), ("refused", None)]
    assert cells.store.read("grades")["mass"].drop_nulls().to_list() == [0.2]


BEHIND_A_SERVER = grader_settings(backend="openai", base_url="http://127.0.0.1:1/v1", model_name="judge")


@pytest.mark.parametrize(
    ("settings", "per_chunk"),
    [
        pytest.param({"max_concurrency": 1}, 4, id="eight questions"),
        pytest.param({"max_concurrency": 1, "endpoint": "completions"}, 8, id="eight requests for all questions"),
        pytest.param({"max_concurrency": 16}, 16, id="never more than four batches"),
        pytest.param({"max_concurrency": 1, "backend": "transformers"}, 16, id="four batches in process"),
    ],
)
def test_the_answers_of_a_server_are_stored_after_eight_requests_on_each_connection(
    cells: Cells, settings: dict[str, Any], per_chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("resources.cells.check_canary", lambda *_: None)
    stored: list[int] = []

    class Watching(CountingGrader):
        def grade(self, *args: Any, **kwargs: Any) -> Answers:
            stored.append(cells.store.read("grades").height // len(QUESTIONS))
            return super().grade(*args, **kwargs)

    changed = BEHIND_A_SERVER.model_copy(update={"batch_size": 8, **settings})
    grade(cells, replies(*("x" * length for length in range(1, 34))), Watching(), settings=changed)
    assert stored == list(range(0, 33, per_chunk))


def test_the_page_of_a_stage_shows_what_a_grader_behind_a_server_has_to_say(
    cells: Cells, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Telling(CountingGrader):
        def grade(self, *args: Any, **kwargs: Any) -> Answers:
            return replace(super().grade(*args, **kwargs), n_neutralized=2, warnings=("It may ignore the name.",))

    monkeypatch.setattr("resources.cells.check_canary", lambda *_: "40 of 40 readable")
    settings = BEHIND_A_SERVER.model_copy(update={"max_concurrency": 1})
    grade(cells, replies("a", "bb", "ccc", "dddd", "eeeee"), Telling(), settings=settings)  # two chunks
    assert cells.work["neutralized control tokens"] == 4
    assert cells.work["warning"] == "It may ignore the name."
    assert cells.work["canary"] == "40 of 40 readable"


def test_a_reworded_question_regrades_its_own_column_and_a_reverted_wording_finds_its_grades(cells: Cells) -> None:
    first = grade(cells, replies("a", "bb"), CountingGrader())
    reworded = {**QUESTIONS, "apology": Question("apology", "Does it say sorry?")}
    grader = CountingGrader()
    second = grade(cells, replies("a", "bb"), grader, reworded)
    assert grader.asked == [("a", "Does it say sorry?"), ("bb", "Does it say sorry?")]
    assert not second.equals(first)
    assert grade(cells, replies("a", "bb"), None).equals(first)


def test_a_renamed_proposition_keeps_its_grades(cells: Cells) -> None:
    first = grade(cells, replies("a"), CountingGrader(), {"apology": APOLOGY})
    renamed = grade(cells, replies("a"), None, {"sorry": Question("sorry", APOLOGY.text)})
    assert renamed["p_yes"].to_list() == first["p_yes"].to_list()
    assert renamed["proposition"].to_list() == ["sorry"]


def test_an_edited_example_regrades_only_if_examples_are_shown(cells: Cells) -> None:
    from rbr.rulebook.parts import Example

    def questions(reply: str) -> dict[str, Question]:
        return {"apology": Question("apology", APOLOGY.text, (Example(reply=reply, answer=True),))}

    unseen, shown = grader_settings(few_shot=0), grader_settings(few_shot=1)
    grade(cells, replies("a"), CountingGrader(), questions("Sorry."), settings=unseen)
    grade(cells, replies("a"), None, questions("My apologies."), settings=unseen)
    grade(cells, replies("a"), CountingGrader(), questions("Sorry."), settings=shown)
    grader = CountingGrader()
    grade(cells, replies("a"), grader, questions("My apologies."), settings=shown)
    assert len(grader.asked) == 1


def test_another_grader_grades_again_and_the_first_grades_stay(cells: Cells) -> None:
    first = grade(cells, replies("a"), CountingGrader())
    grade(cells, replies("a"), CountingGrader(), fingerprint="another")
    assert grade(cells, replies("a"), None).equals(first)


@pytest.mark.parametrize("outcome", [Outcome.UNREADABLE, Outcome.REFUSED])
def test_an_unreadable_or_refused_answer_is_stored_with_its_reason_and_has_no_grade(
    cells: Cells, outcome: Outcome
) -> None:
    table = grade(cells, replies("a", "bb"), CountingGrader(outcomes={"a": outcome}))
    assert table.filter(completion_id="c-a").select("p_yes", "outcome").rows() == [(None, outcome)] * 2
    assert table.filter(completion_id="c-bb")["outcome"].to_list() == ["answered", "answered"]
    assert grade(cells, replies("a", "bb"), None).equals(table)
    stored = cells.store.read("grades", "outcome = ?", [str(outcome)])
    assert stored["reason"].to_list() == [f"{outcome} on purpose"] * 2


def test_the_error_bound_of_an_answer_is_stored(cells: Cells) -> None:
    grade(cells, replies("a"), CountingGrader())
    assert cells.store.read("grades")["bound"].to_list() == [0.001, 0.001]


def test_a_question_without_an_answer_is_not_stored_and_is_asked_again(cells: Cells) -> None:
    away = CountingGrader(outcomes={"a": Outcome.NOT_ANSWERED})
    with pytest.raises(InputError, match=r"no answer to 2 of 6 questions: not answered on purpose \(2\)"):
        grade(cells, replies("a", "bb", "ccc"), away)
    assert cells.store.read("grades").height == 4
    back = CountingGrader()
    table = grade(cells, replies("a", "bb", "ccc"), back)
    assert {reply for reply, _ in back.asked} == {"a"}
    assert table["outcome"].to_list() == ["answered"] * 6


def test_the_error_names_the_conversation_that_gets_no_answer(cells: Cells) -> None:
    failing = CountingGrader(outcomes={"bb": Outcome.NOT_ANSWERED})
    conversations = {
        **replies("a", "ccc"),
        "c-bb": [*user("How do I " + "very " * 30 + "much?"), *replies("bb")["c-bb"][1:]],
    }
    with pytest.raises(InputError) as caught:
        grade(cells, conversations, failing)
    assert "No answer about conversation c-bb (the user says 'How do I very" in caught.value.hint
    assert "very...'): not answered on purpose" in caught.value.hint
    assert "remove the prompt of this conversation" in caught.value.hint
    assert "c-a" not in caught.value.hint


def test_the_error_about_a_grader_that_stopped_to_answer_names_no_conversation(cells: Cells) -> None:
    class Stopping(CountingGrader):
        def _answer(self, reply: str, question: str) -> Answer:
            reason = "the server answered 503" if reply == "a" else "not asked, because the server answered 503"
            return Answer(Outcome.NOT_ANSWERED, reason=reason)

    settings = ONE_AT_A_TIME.model_copy(update={"batch_size": 100})
    with pytest.raises(InputError) as caught:
        grade(cells, replies("a", "bb"), Stopping(), settings=settings)
    assert "503" in str(caught.value) and "No answer about" not in caught.value.hint


def test_an_answer_that_comes_at_the_second_try_needs_no_second_run(cells: Cells) -> None:
    class Hiccup(CountingGrader):
        def grade(self, *args: Any, **kwargs: Any) -> Answers:
            answers = super().grade(*args, **kwargs)
            self.outcomes = {}
            return answers

    table = grade(cells, replies("a", "bb"), Hiccup(outcomes={"a": Outcome.NOT_ANSWERED}))
    assert table["p_yes"].null_count() == 0


def test_a_grader_that_answers_nothing_is_asked_for_one_chunk_only(cells: Cells) -> None:
    texts = ["x" * length for length in range(1, 3 * BATCHES_PER_CHUNK + 1)]
    away = CountingGrader(outcomes=dict.fromkeys(texts, Outcome.NOT_ANSWERED))
    with pytest.raises(InputError, match="no answer to 24 of 24 questions"):
        grade(cells, replies(*texts), away)
    assert away.calls == 1


@pytest.mark.parametrize("batch_size", [1, 2, 5, 1000])
def test_the_batch_size_changes_no_grade(cells: Cells, batch_size: int, tmp_path: Path) -> None:
    conversations = replies(*("x" * length for length in range(1, 12)))
    asked = {cell: ["apology", "refusal"][: 1 + number % 2] for number, cell in enumerate(conversations)}
    expected = grade(cells, conversations, CountingGrader(), asked=asked, settings=grader_settings(batch_size=3))
    other = replace(cells, store=Store(path=str(tmp_path / "other.duckdb")))
    settings = grader_settings(batch_size=batch_size)
    assert grade(other, conversations, CountingGrader(), asked=asked, settings=settings).equals(expected)


def test_the_batch_size_counts_answers_not_replies(cells: Cells) -> None:
    conversations = replies(*("x" * length for length in range(1, 9)))
    grader = CountingGrader()
    grade(cells, conversations, grader, settings=grader_settings(batch_size=2))
    assert grader.calls == 8 / BATCHES_PER_CHUNK


def test_an_interruption_keeps_the_grades_of_the_chunks_that_were_done(cells: Cells) -> None:
    texts = ["x" * length for length in range(1, 3 * BATCHES_PER_CHUNK + 1)]
    with pytest.raises(KeyboardInterrupt):
        grade(cells, replies(*texts), CountingGrader(fail_at=3))
    assert cells.store.read("grades").height == 2 * BATCHES_PER_CHUNK * len(QUESTIONS)
    grader = CountingGrader()
    table = grade(cells, replies(*texts), grader)
    assert {reply for reply, _ in grader.asked} == set(texts[2 * BATCHES_PER_CHUNK :])
    assert table["p_yes"].null_count() == 0


def test_nothing_to_ask_opens_no_grader(cells: Cells) -> None:
    table = grade(cells, {}, None)
    assert table.is_empty()
    assert table.columns == ["completion_id", "proposition", "p_yes", "outcome", "mass"]


def test_the_progress_counts_the_missing_replies(cells: Cells) -> None:
    grade(cells, replies("a"), CountingGrader())
    grade(cells, replies("a", "bb", "ccc"), CountingGrader())
    report = json.loads(cells.progress.path("an_asset").read_text())
    assert (report["done"], report["total"], report["unit"]) == (2, 2, "replies")
    assert report["finished"] is not None


def test_the_store_is_free_for_others_while_the_grader_works(cells: Cells) -> None:
    path = cells.store.path
    mark_state(Path(path).parent)
    write = f"import duckdb; duckdb.connect({path!r}).execute('CREATE TABLE IF NOT EXISTS visitor (x INT)')"

    class Visited(CountingGrader):
        def grade(self, *args: Any, **kwargs: Any) -> Answers:
            subprocess.run([sys.executable, "-c", write], check=True)
            return super().grade(*args, **kwargs)

    assert grade(cells, replies("a"), Visited())["p_yes"].null_count() == 0
    assert cells.store.query("SELECT count(*) AS n FROM visitor")["n"].item() == 0


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"yes": ("Yes", "yes")}, True),
        ({"no": (" no", "no")}, True),
        ({"batch_size": 1}, True),
        ({"timeout_s": 9.0, "wait_s": 0.0, "max_concurrency": 1}, True),
        ({"base_url": "http://127.0.0.1:9/v1", "model_name": "unused", "top_logprobs": 5}, True),
        ({"category_bar": 0.9}, True),
        ({"few_shot": 3}, True),
        ({"model_epoch": 3}, True),
        ({"yes": ("yes",)}, False),
        ({"no": ("no",)}, False),
        ({"min_mass": 0.5}, False),
        ({"max_bound": 0.5}, True),
        ({"prompt_template": "another prompt"}, False),
        ({"backend": "vllm"}, False),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_the_version_of_a_grader_changes_if_its_answers_may_differ(change: dict, same: bool) -> None:
    def version(fingerprint: str, **changes: Any) -> str:
        return GraderInUse(PinnedModel(REF, fingerprint), grader_settings(**changes)).version

    before = version("fingerprint")
    assert (version("fingerprint", **change) == before) is same
    assert version("other weights", **change) != before


# Scores


def score(cells: Cells, texts: list[str], model: LengthScorer | None, fingerprint: str = "r") -> list[float | None]:
    """Scores with `model`; None asserts that no reward model is opened."""
    rows = pl.DataFrame(
        [(f"c-{text}", name_of("Hello."), text) for text in texts],
        schema=["completion_id", "prompt_id", "text"],
        orient="row",
    )
    with_model = replace(cells, models=fake_models(reward_model=model))
    table = with_model.score(rows, prompts("Hello."), RewardModelInUse(PinnedModel(REF, fingerprint), batch_size=1))
    assert table["completion_id"].to_list() == rows["completion_id"].to_list()
    return table["score"].to_list()


def test_a_reply_is_scored_once_by_each_reward_model(cells: Cells) -> None:
    assert score(cells, ["bb", "a"], LengthScorer()) == [2.0, 1.0]
    scorer = LengthScorer()
    assert score(cells, ["ccc", "a", "bb"], scorer) == [3.0, 1.0, 2.0]
    assert scorer.asked == ["ccc"]
    another = LengthScorer()
    score(cells, ["a"], another, fingerprint="another")
    assert another.asked == ["a"]
    assert score(cells, ["a", "bb", "ccc"], None) == [1.0, 2.0, 3.0]


def test_a_reply_that_could_not_be_scored_is_null(cells: Cells) -> None:
    assert score(cells, ["", "a"], LengthScorer()) == [None, 1.0]


def test_an_interruption_keeps_the_scores_of_the_chunks_that_were_done(cells: Cells) -> None:
    texts = ["x" * length for length in range(1, 2 * BATCHES_PER_CHUNK + 1)]
    with pytest.raises(KeyboardInterrupt):
        score(cells, texts, LengthScorer(fail_at=2))
    scorer = LengthScorer()
    assert score(cells, texts, scorer) == [float(len(text)) for text in texts]
    assert scorer.asked == texts[BATCHES_PER_CHUNK:]


GRADER = grader_settings()
SERVED = {"id": "judge", "root": "/models/judge-a"}


@pytest.mark.parametrize(
    ("change", "served", "same"),
    [
        ({"base_url": "http://127.0.0.1:2/v1"}, SERVED, True),
        ({"model_name": "another"}, SERVED, False),
        ({"model_epoch": 1}, SERVED, False),
        ({"top_logprobs": 5}, SERVED, False),
        ({"chat_template_kwargs": {"enable_thinking": False}}, SERVED, False),
        ({"extra_body": {"seed": 1}}, SERVED, False),
        ({"endpoint": "completions"}, SERVED, False),
        ({"max_bound": 0.5}, SERVED, False),
        ({}, {**SERVED, "root": "/models/judge-b"}, False),
        ({"vllm": GRADER.vllm.model_copy(update={"dtype": "float16"})}, SERVED, True),
    ],
    ids=str,
)
def test_a_server_is_known_by_what_it_serves(change: dict, served: dict, same: bool) -> None:
    settings = {"backend": "openai", "base_url": "http://127.0.0.1:1/v1", "model_name": "judge"}
    before = GraderInUse(None, grader_settings(**settings), SERVED).version
    assert (GraderInUse(None, grader_settings(**{**settings, **change}), served).version == before) is same


def test_servers_that_say_only_a_name_are_told_apart_by_their_address() -> None:
    def version(url: str) -> str:
        settings = grader_settings(backend="openai", base_url=url, model_name="judge")
        return GraderInUse(None, settings, {"id": "judge"}).version

    assert version("http://127.0.0.1:1/v1") != version("http://127.0.0.1:2/v1")
    assert version("http://127.0.0.1:1/v1") == version("http://127.0.0.1:1/v1/")


@pytest.mark.parametrize(
    ("change", "same"),
    [
        pytest.param({"model.safetensors": b"other weights"}, True, id="weights"),
        pytest.param({"config.json": b'{"hidden_size": 8}'}, True, id="configuration"),
        pytest.param({"tokenizer.json": b'{"added_tokens": [{"content": "word"}]}'}, True, id="an added word"),
        pytest.param(
            {"tokenizer.json": b'{"added_tokens": [{"content": "~~END~~", "special": true}]}'}, False, id="added token"
        ),
    ],
)
@pytest.mark.parametrize("endpoint", ["chat", "completions"])
def test_only_the_added_tokens_of_a_local_model_matter_if_a_server_tokenizes(
    tmp_path: Path, endpoint: str, change: dict[str, bytes], same: bool
) -> None:
    settings = grader_settings(
        backend="openai", base_url="http://127.0.0.1:1/v1", model_name="judge", endpoint=endpoint
    )

    def version(name: str, files: dict[str, bytes]) -> str:
        (tmp_path / name).mkdir()
        for file, content in {"model.safetensors": b"weights", "tokenizer.json": b"{}", **files}.items():
            (tmp_path / name / file).write_bytes(content)
        ref = ModelRef(path=str(tmp_path / name), revision=None)
        return GraderInUse(PinnedModel(ref, grader_fingerprint(ref, settings)), settings, SERVED).version

    before = version("before", {})
    assert (version("after", change) == before) is (same and endpoint == "chat")
    if endpoint == "chat":
        # A local model without added tokens neutralizes nothing more than no local model.
        assert before == GraderInUse(None, settings, SERVED).version


def test_the_template_arguments_of_a_server_matter_only_if_it_renders_the_template() -> None:
    def version(endpoint: str, arguments: dict[str, Any]) -> str:
        settings = grader_settings(
            backend="openai",
            base_url="http://127.0.0.1:1/v1",
            model_name="judge",
            endpoint=endpoint,
            chat_template_kwargs=arguments,
        )
        return GraderInUse(PinnedModel(REF, "tokenizer"), settings, SERVED).version

    assert version("chat", {}) != version("chat", {"enable_thinking": False})
    assert version("completions", {}) == version("completions", {"enable_thinking": False})


@pytest.mark.parametrize(
    ("settings", "times"),
    [
        ({"backend": "openai", "endpoint": "chat"}, 3),
        ({"backend": "openai", "endpoint": "completions"}, 1),
        ({"backend": "transformers"}, 1),
        ({"backend": "vllm"}, 1),
    ],
    ids=["chat", "completions", "transformers", "vllm"],
)
def test_only_a_chat_reads_the_conversation_again_for_each_question(settings: dict, times: int) -> None:
    asked = [Question(name, f"Is it {name}?") for name in ("an apology", "an insult", "a poem")]
    reply: list[Conversation] = [[{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "x" * 500}]]
    graded = grader_settings(base_url="http://127.0.0.1:1/v1", model_name="judge", **settings)
    prompt = compile_prompt(graded.prompt_template)
    expected = times * len(prompt.conversation(reply[0])) + sum(len(prompt.question(one, 0)) for one in asked)
    assert prompt_length(reply, asked, graded) == expected > times * 500
