"""Making only the cells that are missing: completions, grades, scores.

Each maker works in chunks and stores every chunk as soon as it is done, so an interrupted run keeps what
it paid for. Models are opened only where something is missing, and the store is closed while they work.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import polars as pl

from rbr.comparisons.completion_ids import completion_id, sampling_key, seed_of
from rbr.conversation import Conversation, with_instruction
from rbr.grading import Grader, Question, question_hash
from rbr.hashing import content_hash
from rbr.profile import EvaluationSettings, GraderSettings, SynthesisSettings
from resources.progress import Progress
from resources.progress_file import ProgressFile
from resources.store import Store

BATCHES_PER_CHUNK = 4

CELLS_MADE = "cells made"
OPENING_SECONDS = "seconds to open the model"
MAKING_SECONDS = "seconds to make the cells"
TOKENS = "tokens"
CHARACTERS_PER_TOKEN = 4
"""A rule of thumb for English: what a grader reads is counted in characters, as its tokenizer may be a server's."""


@dataclass(frozen=True)
class Sampling:
    """The settings that move a sample; the batch size does not."""

    temperature: float
    top_p: float
    max_new_tokens: int
    seed: int

    @classmethod
    def of(cls, settings: SynthesisSettings | EvaluationSettings) -> "Sampling":
        """The sampling part of a profile section."""
        return cls(settings.temperature, settings.top_p, settings.max_new_tokens, settings.seed)

    @property
    def key(self) -> str:
        """Name of these settings in a completion's identity."""
        return sampling_key(asdict(self))


@dataclass(frozen=True)
class Cells:
    """Where cells are kept and who watches their making.

    Attributes:
        store: Holds them.
        progress: Shows how far it is.
        asset: The asset that asks, such as `evaluation_completions/rbr`.
        work: What was made and how long it took, as entries of the asset's page; `rbr plan` reads them there.
    """

    store: Store
    progress: Progress
    asset: str
    work: dict[str, int | float] = field(default_factory=lambda: {CELLS_MADE: 0})

    def sample(
        self,
        wanted: pl.DataFrame,
        prompts: Mapping[str, Conversation],
        open_policy: Callable[[], Any],
        policy: str,
        sampling: Sampling,
        batch_size: int,
    ) -> pl.DataFrame:
        """Samples the completions that do not exist yet.

        Args:
            wanted: Columns of `name_completions`.
            prompts: Messages by prompt id.
            open_policy: Opens the `rbr.models.policy.Policy`.
            policy: Its fingerprint.
            sampling: How to sample.
            batch_size: Rows generated together.

        Returns:
            `wanted` with the column text, in its order.
        """
        cells = wanted.unique("completion_id", keep="first", maintain_order=True).with_columns(
            pl.lit(policy).alias("policy"), pl.lit(sampling.key).alias("sampling")
        )
        missing = self.store.missing("completions", cells)
        if not missing.is_empty():
            with self._making(missing.height, missing.height, open_policy) as (model, bar):
                for start, chunk in _chunks(missing, batch_size):
                    replies = model.sample(
                        [
                            with_instruction(prompts[prompt_id], instruction)
                            for prompt_id, instruction in chunk.select("prompt_id", "instruction").iter_rows()
                        ],
                        [seed_of(cell) for cell in chunk["completion_id"]],
                        sampling.temperature,
                        sampling.top_p,
                        sampling.max_new_tokens,
                        on_progress=lambda done, start=start: bar.update(start + done),
                    )
                    identity = ("completion_id", "prompt_id", "instruction", "candidate", "policy", "sampling")
                    made = chunk.select(identity).with_columns(
                        pl.Series("text", [reply.text for reply in replies]),
                        pl.Series("n_tokens", [reply.n_tokens for reply in replies]),
                        pl.Series("finished", [reply.finished for reply in replies]),
                    )
                    self.store.append("completions", made)
                    self._read(sum(reply.n_tokens for reply in replies))
                    bar.update(start + chunk.height)
        stored = self.store.read("completions", "policy = ? AND sampling = ?", [policy, sampling.key])
        texts = stored.select("completion_id", "text")
        return wanted.join(texts, on="completion_id", how="left", maintain_order="left")

    def grade(
        self,
        conversations: Mapping[str, Conversation],
        asked: Mapping[str, Iterator[str] | list[str]],
        questions: Mapping[str, Question],
        open_grader: Callable[[], Grader],
        grader: str,
        settings: GraderSettings,
    ) -> pl.DataFrame:
        """Asks the questions that have not been answered yet.

        Args:
            conversations: What is graded, by completion id (prompt id where the prompt itself is).
            asked: Names of the questions about each of them.
            questions: The questions by name.
            open_grader: Opens the grader.
            grader: Its `grader_version`.
            settings: Its settings.

        Returns:
            Columns completion_id, proposition, p_yes (null where it could not be read), sorted by the
            first two; one row per completion and question asked of it.
        """
        hashes = {name: question_hash(question, settings.few_shot) for name, question in questions.items()}
        wanted = pl.DataFrame(
            [(cell, name, hashes[name], grader) for cell, names in asked.items() for name in names],
            schema={
                "completion_id": pl.String,
                "proposition": pl.String,
                "question": pl.String,
                "grader": pl.String,
            },
            orient="row",
        )
        missing = self.store.missing("grades", wanted)
        if not missing.is_empty():
            with self._making(missing.height, missing["completion_id"].n_unique(), open_grader) as (model, bar):
                done = 0
                for names, cells in _by_questions(missing):
                    for start, chunk in _chunks(cells, max(settings.batch_size // len(names), 1)):
                        p_yes = model.grade(
                            [conversations[cell] for cell in chunk["completion_id"]],
                            [questions[name] for name in names],
                            on_progress=lambda graded, before=done + start: bar.update(before + graded),
                        )
                        made = pl.DataFrame(
                            [
                                (cell, hashes[name], grader, float(value))
                                for cell, row in zip(chunk["completion_id"], p_yes, strict=True)
                                for name, value in zip(names, row, strict=True)
                            ],
                            schema=["completion_id", "question", "grader", "p_yes"],
                            orient="row",
                        )
                        self.store.append("grades", made)
                        asked_of_each = sum(len(questions[name].text) for name in names)
                        read = sum(_length(conversations[cell]) + asked_of_each for cell in chunk["completion_id"])
                        self._read(read // CHARACTERS_PER_TOKEN)
                    done += cells.height
                    bar.update(done)
        stored = self.store.read("grades", "grader = ?", [grader])
        answered = wanted.join(stored, on=["completion_id", "question", "grader"], how="left")
        return answered.select("completion_id", "proposition", "p_yes").sort("completion_id", "proposition")

    def score(
        self,
        replies: pl.DataFrame,
        prompts: Mapping[str, Conversation],
        open_reward_model: Callable[[], Any],
        reward_model: str,
        batch_size: int,
    ) -> pl.DataFrame:
        """Scores the replies that the reward model has not scored yet.

        Args:
            replies: Columns completion_id, prompt_id and text; one row per completion.
            prompts: Messages by prompt id.
            open_reward_model: Opens the `rbr.models.reward_model.RewardModel`.
            reward_model: Its fingerprint.
            batch_size: Rows scored together.

        Returns:
            Columns completion_id, score (null where it could not be computed), in the order of `replies`.
        """
        wanted = replies.with_columns(pl.lit(reward_model).alias("reward_model"))
        missing = self.store.missing("scores", wanted)
        if not missing.is_empty():
            with self._making(missing.height, missing.height, open_reward_model) as (model, bar):
                for start, chunk in _chunks(missing, batch_size):
                    scores = model.score(
                        [prompts[prompt_id] for prompt_id in chunk["prompt_id"]], chunk["text"].to_list()
                    )
                    made = chunk.select("completion_id", "reward_model").with_columns(pl.Series("score", scores))
                    self.store.append("scores", made)
                    read = sum(_length(prompts[prompt_id]) for prompt_id in chunk["prompt_id"])
                    self._read((read + chunk["text"].str.len_chars().sum()) // CHARACTERS_PER_TOKEN)
                    bar.update(start + chunk.height)
        stored = self.store.read("scores", "reward_model = ?", [reward_model]).select("completion_id", "score")
        return replies.select("completion_id").join(stored, on="completion_id", how="left", maintain_order="left")

    @contextmanager
    def _making(self, cells: int, replies: int, open_model: Callable[[], Any]) -> Iterator[tuple[Any, ProgressFile]]:
        started = time.monotonic()
        model = open_model()
        opened = time.monotonic()
        with self.progress.bar(self.asset, replies, "replies") as bar:
            yield model, bar
        self.work[CELLS_MADE] = cells
        self.work[OPENING_SECONDS] = opened - started
        self.work[MAKING_SECONDS] = time.monotonic() - opened

    def _read(self, tokens: int) -> None:
        self.work[TOKENS] = self.work.get(TOKENS, 0) + tokens


def name_completions(
    plan: pl.DataFrame, prompts: Mapping[str, Conversation], policy: str, sampling: Sampling
) -> pl.DataFrame:
    """Adds the column completion_id.

    Args:
        plan: Columns prompt_id, instruction and candidate, and any others, which are kept.
        prompts: Messages by prompt id.
        policy: Fingerprint of the policy.
        sampling: How to sample.
    """
    names = [
        completion_id(prompt_id, with_instruction(prompts[prompt_id], instruction), policy, sampling.key, candidate)
        for prompt_id, instruction, candidate in plan.select("prompt_id", "instruction", "candidate").iter_rows()
    ]
    return plan.with_columns(pl.Series("completion_id", names, dtype=pl.String))


def grader_version(fingerprint: str, settings: GraderSettings) -> str:
    """Names a grader with the settings that its answers depend on.

    Few-shot examples are part of the question's hash; batch sizes, addresses and retries change no answer.
    """
    return content_hash(
        [
            "grader",
            fingerprint,
            settings.backend,
            sorted(settings.yes),
            sorted(settings.no),
            settings.min_mass,
        ]
    )


def _length(conversation: Conversation) -> int:
    return sum(len(message["content"]) for message in conversation)


def _chunks(frame: pl.DataFrame, batch_size: int) -> Iterator[tuple[int, pl.DataFrame]]:
    size = batch_size * BATCHES_PER_CHUNK
    for start in range(0, frame.height, size):
        yield start, frame.slice(start, size)


def _by_questions(missing: pl.DataFrame) -> Iterator[tuple[list[str], pl.DataFrame]]:
    """Completions that lack the same answers, with the names of the questions."""
    lacking = missing.group_by("completion_id", maintain_order=True).agg(pl.col("proposition").sort())
    for (names,), cells in lacking.group_by("proposition", maintain_order=True):
        yield list(names), cells.select("completion_id")
