"""Cells: completions, grades and scores. Each is made once and never deleted.

`Cells` makes only the cells that are missing. It works in chunks and stores every finished chunk, so an interrupted run
loses at most one chunk. A model is opened only if a cell is missing, and the store is closed while the model works.
"""

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import polars as pl

from rbr.comparisons.completion_ids import completion_id, completion_seed
from rbr.conversation import Conversation, with_instruction
from rbr.grading import Grader, Outcome, Question
from rbr.grading.chunks import BATCHES_PER_CHUNK, conversations_per_chunk
from rbr.rulebook import ContentPolicy
from resources.grade_rows import (
    answered_rows,
    failed_conversations,
    group_by_questions,
    prompt_length,
    read_grades,
    unanswered,
    wanted_grades,
)
from resources.grader_canary import check_canary
from resources.models import MODEL_TAGS, GraderInUse, Models, PolicyInUse, RewardModelInUse
from resources.pages.asset_pages import WARNING
from resources.progress import Progress
from resources.store import Store
from resources.store.table_content import messages_by_prompt

CELLS_TAG = "rbr/cells"
"""Tag of the assets that make cells: ``completions``, ``grades`` or ``scores``."""

SAMPLING_TAGS = {**MODEL_TAGS, CELLS_TAG: "completions"}
GRADING_TAGS = {**MODEL_TAGS, CELLS_TAG: "grades"}
SCORING_TAGS = {**MODEL_TAGS, CELLS_TAG: "scores"}

# Metadata keys of asset pages. `rbr plan` reads them from earlier runs, so they must not change.
CELLS_MADE = "cells made"
OPENING_SECONDS = "seconds to open the model"
MAKING_SECONDS = "seconds to make the cells"
TOKENS = "tokens"
NEUTRALIZED = "neutralized control tokens"
CANARY = "canary"

READING = ("finished", "unclosed_thought", "unopened_thought", "special_tokens")
"""Columns of the table `completions` that say how a reply was read from the tokens of the model."""

CHARACTERS_PER_TOKEN = 4
"""Rule of thumb for English. Tokens are estimated, because the tokenizer of a grader on a server is not available."""

OnProgress: TypeAlias = Callable[..., None]
MakeChunk: TypeAlias = Callable[[Any, pl.DataFrame, OnProgress], tuple[pl.DataFrame, int]]
"""Makes the cells of one chunk.

Arguments: the open model, the rows of the chunk, and a callback for the number of finished rows and a note. Results:
rows of the cell table, and the number of tokens that the model has read or written.
"""


@dataclass(frozen=True)
class Cells:
    """Makes the missing cells of one asset.

    Attributes:
        store: The store with the cell tables.
        models: Opens the model.
        progress: Shows the number of finished replies.
        asset: Name of the asset, such as ``evaluation_completions/rbr``.
        work: Metadata for the asset's page: cells made, seconds, tokens, on which `rbr plan` bases its estimates; and
            what a grader behind a server has to say.
    """

    store: Store
    models: Models
    progress: Progress
    asset: str
    work: dict[str, Any] = field(default_factory=lambda: {CELLS_MADE: 0})

    def sample(self, plan: pl.DataFrame, prompts: Mapping[str, Conversation], policy: PolicyInUse) -> pl.DataFrame:
        """Samples the completions that do not exist yet.

        Args:
            plan: Columns prompt_id, instruction and candidate (index among the completions of equal prompt and
                instruction, from 0), and any others.
            prompts: Messages by prompt id.
            policy: The policy to sample from.

        Returns:
            `plan` with the columns completion_id, text and `READING`, in the order of `plan`.

        Raises:
            InputError: The model cannot be opened.
        """
        sampling = policy.sampling
        wanted = name_completions(plan, prompts, policy)
        # One row per completion: rows of the plan with equal prompt, instruction and candidate share a completion.
        completions = wanted.unique("completion_id", keep="first", maintain_order=True).with_columns(
            policy=pl.lit(policy.version), sampling=pl.lit(sampling.key)
        )
        missing = self.store.missing("completions", completions)

        def make_chunk(model: Any, chunk: pl.DataFrame, on_progress: OnProgress) -> tuple[pl.DataFrame, int]:
            replies = model.sample(
                [
                    with_instruction(prompts[prompt_id], instruction)
                    for prompt_id, instruction in chunk.select("prompt_id", "instruction").iter_rows()
                ],
                [completion_seed(completion) for completion in chunk["completion_id"]],
                sampling.temperature,
                sampling.top_p,
                sampling.max_new_tokens,
                on_progress=on_progress,
            )
            identity = chunk.select("completion_id", "prompt_id", "instruction", "candidate", "policy", "sampling")
            rows = identity.with_columns(
                pl.Series("text", [reply.text for reply in replies]),
                pl.Series("n_tokens", [reply.n_tokens for reply in replies]),
                *(pl.Series(name, [getattr(reply, name) for reply in replies]) for name in READING),
            )
            return rows, sum(reply.n_tokens for reply in replies)

        self._make(
            "completions",
            _slices(missing, policy.batch_size * BATCHES_PER_CHUNK),
            lambda on_progress: self.models.open_policy(policy),
            make_chunk,
        )
        # Read all completions of the plan, new and old.
        stored = self.store.read("completions", "policy = ? AND sampling = ?", [policy.version, sampling.key])
        replies = stored.select("completion_id", "text", *READING)
        return wanted.join(replies, on="completion_id", how="left", maintain_order="left")

    def grade(
        self,
        conversations: Mapping[str, Conversation],
        questions: Mapping[str, Sequence[Question]],
        grader: GraderInUse,
    ) -> pl.DataFrame:
        """Asks the questions that have not been answered yet.

        Args:
            conversations: The conversations to grade, by completion id, or by prompt id for questions about prompts.
            questions: The questions to ask about each conversation, by the same id.
            grader: The grader to ask.

        Returns:
            Columns completion_id (the id of the conversation), proposition (the name of the question), p_yes (null
            unless answered), outcome (answered, unreadable or refused) and mass (P(yes) + P(no); null if no probability
            was seen). One row per conversation and question, sorted by id and name.

        Raises:
            InputError: The model cannot be opened, the model behind a server has changed, or some questions got no
                answer. The answers that arrived are stored, and the next call asks only the other questions.
        """
        by_name = {question.name: question for group in questions.values() for question in group}
        wanted = wanted_grades(questions, grader)
        missing = self.store.missing("grades", wanted)
        n_wanted, n_missing = missing.height, missing.height + 1
        reasons: Counter[str] = Counter()
        failed: dict[str, tuple[Conversation, str]] = {}

        def make_chunk(model: Any, chunk: pl.DataFrame, on_progress: OnProgress) -> tuple[pl.DataFrame, int]:
            asked = [by_name[name] for name in chunk["propositions"][0]]
            judged = [conversations[conversation_id] for conversation_id in chunk["completion_id"]]
            answers = model.grade(judged, asked, on_progress=on_progress)
            if grader.settings.backend == "openai":
                self._add(NEUTRALIZED, answers.n_neutralized)
            if answers.warnings:
                self.work[WARNING] = " ".join(answers.warnings)
            left_out = answers.count(Outcome.NOT_ANSWERED)
            reasons.update(answers.reasons_of(Outcome.NOT_ANSWERED))
            failed.update(failed_conversations(answers, chunk["completion_id"].to_list(), judged))
            if left_out == answers.p_yes.size:
                # The grader is away. Stop here: it has already waited, and would wait again for every chunk.
                n_left = self.store.missing("grades", wanted).height
                raise unanswered(self.asset, n_left, n_wanted, reasons, failed)
            characters = prompt_length(judged, asked, grader.settings)
            rows = answered_rows(chunk["completion_id"].to_list(), asked, answers, grader)
            return rows, characters // CHARACTERS_PER_TOKEN

        # A question without an answer is asked once more at the end, as long as that helps.
        while 0 < missing.height < n_missing:
            n_missing = missing.height
            reasons.clear()
            failed.clear()
            # All conversations of a chunk lack answers to the same questions, so one call of the grader makes it.
            chunks = [
                chunk
                for group in group_by_questions(missing)
                for chunk in _slices(group, conversations_per_chunk(grader.settings, len(group["propositions"][0])))
            ]
            self._make("grades", chunks, lambda on_progress: self._open_grader(grader, on_progress), make_chunk)
            missing = self.store.missing("grades", wanted)
        if not missing.is_empty():
            raise unanswered(self.asset, missing.height, n_wanted, reasons, failed)
        # Read all wanted answers, new and old.
        return read_grades(self.store, questions, grader)

    def grade_categories(self, prompts: pl.DataFrame, policy: ContentPolicy, grader: GraderInUse) -> pl.DataFrame:
        """Asks about each prompt the questions of all categories, unless they have been answered already.

        Args:
            prompts: Columns prompt_id and messages (JSON).
            policy: The categories and their questions.
            grader: The grader to ask.

        Returns:
            Columns prompt_id, category, p_yes (null unless answered), outcome and mass.
        """
        conversations = messages_by_prompt(prompts)
        questions = [Question(code, category.question) for code, category in policy.categories.items()]
        grades = self.grade(conversations, dict.fromkeys(conversations, questions), grader)
        return grades.rename({"completion_id": "prompt_id", "proposition": "category"})

    def score(
        self, replies: pl.DataFrame, prompts: Mapping[str, Conversation], reward_model: RewardModelInUse
    ) -> pl.DataFrame:
        """Scores the replies that the reward model has not scored yet.

        Args:
            replies: Columns completion_id, prompt_id and text; one row per completion.
            prompts: Messages by prompt id.
            reward_model: The reward model to score with.

        Returns:
            Columns completion_id and score (null if the reply could not be scored), in the order of `replies`.

        Raises:
            InputError: The model cannot be opened.
        """
        wanted = replies.with_columns(reward_model=pl.lit(reward_model.version))
        missing = self.store.missing("scores", wanted)

        def make_chunk(model: Any, chunk: pl.DataFrame, on_progress: OnProgress) -> tuple[pl.DataFrame, int]:
            conversations = [prompts[prompt_id] for prompt_id in chunk["prompt_id"]]
            scores = model.score(conversations, chunk["text"].to_list(), on_progress=on_progress)
            rows = chunk.select("completion_id", "reward_model").with_columns(pl.Series("score", scores))
            characters = sum(map(_length, conversations)) + sum(map(len, chunk["text"]))
            return rows, characters // CHARACTERS_PER_TOKEN

        self._make(
            "scores",
            _slices(missing, reward_model.batch_size * BATCHES_PER_CHUNK),
            lambda on_progress: self.models.open_reward_model(reward_model),
            make_chunk,
        )
        # Read all scores of the replies, new and old.
        stored = self.store.read("scores", "reward_model = ?", [reward_model.version]).select("completion_id", "score")
        return replies.select("completion_id").join(stored, on="completion_id", how="left", maintain_order="left")

    def _open_grader(self, grader: GraderInUse, on_progress: OnProgress) -> Grader:
        model = self.models.open_grader(grader)
        # The probes are no replies of the asset, so the bar shows only their notes.
        if report := check_canary(self.store, grader, model, lambda count, note="": on_progress(0, note)):
            self.work[CANARY] = report
        return model

    def _make(
        self,
        table: str,
        chunks: Sequence[pl.DataFrame],
        open_model: Callable[[OnProgress], Any],
        make_chunk: MakeChunk,
    ) -> None:
        """Makes the cells chunk by chunk, and stores each chunk before it begins the next.

        Args:
            table: Table of the cells.
            chunks: Rows that lack cells; one row per reply. If there are no chunks, no model is opened.
            open_model: Opens the model. It may show a note while it waits.
            make_chunk: Makes the cells of a chunk.
        """
        if not chunks:
            return
        started = time.monotonic()
        done = 0
        with self.progress.bar(self.asset, sum(chunk.height for chunk in chunks), "replies") as bar:
            model = open_model(bar.update)
            opened = time.monotonic()
            for chunk in chunks:
                cells, tokens = make_chunk(
                    model, chunk, lambda count, note="", before=done: bar.update(before + count, note)
                )
                self.store.append(table, cells)
                self._add(CELLS_MADE, cells.height)
                self._add(TOKENS, tokens)
                done += chunk.height
                bar.update(done)
        self._add(OPENING_SECONDS, opened - started)
        self._add(MAKING_SECONDS, time.monotonic() - opened)

    def _add(self, key: str, value: int | float) -> None:
        self.work[key] = self.work.get(key, 0) + value


def name_completions(plan: pl.DataFrame, prompts: Mapping[str, Conversation], policy: PolicyInUse) -> pl.DataFrame:
    """Adds the column completion_id to a sampling plan. The arguments are the same as for `Cells.sample`."""
    ids = [
        completion_id(
            prompt_id,
            with_instruction(prompts[prompt_id], instruction),
            policy.version,
            policy.sampling.key,
            candidate,
        )
        for prompt_id, instruction, candidate in plan.select("prompt_id", "instruction", "candidate").iter_rows()
    ]
    return plan.with_columns(pl.Series("completion_id", ids, dtype=pl.String))


def _length(conversation: Conversation) -> int:
    """Returns the length of a conversation in characters."""
    return sum(len(message["content"]) for message in conversation)


def _slices(rows: pl.DataFrame, size: int) -> list[pl.DataFrame]:
    return [rows.slice(start, size) for start in range(0, rows.height, size)]
