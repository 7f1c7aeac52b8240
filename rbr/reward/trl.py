"""R_tot = R_rm + R_rbr as a reward function for TRL (paper section 4, Eq. 1)."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rbr.conversation import Conversation, Message
from rbr.errors import InputError, nearest_spelling
from rbr.grading import Grader, open_grader
from rbr.grading.canary import check_model, has_canary
from rbr.grading.identity import identify_grader, model_behind
from rbr.models.fingerprint import model_fingerprint
from rbr.reward.artifact import RewardArtifact
from rbr.reward.graded_replies import GradedReplies, OnRefusal, grade_replies
from rbr.reward.reward_metrics import reward_metrics
from rbr.reward.unscored_replies import UnscoredReplies
from rbr.thoughts import split_thoughts

if TYPE_CHECKING:
    from rbr.models.reward_model import RewardModel
    from rbr.profile import GraderSettings, ModelRef


class RuleBasedReward:
    """A TRL reward function that returns R_tot = R_rm + R_rbr; without an artifact, R_rm alone.

    If R_rbr or the score of a completion is not known, its reward is None. One function computes both terms, because
    TRL adds the values of several reward functions and counts a missing value as 0.

    The completion is judged without its thoughts, as in synthesis and evaluation; see `rbr.thoughts`.

    Args:
        reward_model: The reward model R_rm.
        artifact: The fitted reward; None for a baseline without rules.
        grader: The grader that answers the propositions; required with an artifact.
        on_refusal: What happens to a completion that the grader's content filter refuses to judge: ``worst`` gives it
            the lowest R_rbr of its response type, ``mask`` gives it no reward.
        on_note: Called with a note if the grader waits, such as "the server has not answered for 40 s", and with an
            empty text when it goes on.

    Attributes:
        unscored: The completions that have got no reward so far, by cause.

    Raises:
        ValueError: There is an artifact, but no grader.

    Example:
        >>> class Length:  # Anything with this method can be the reward model.
        ...     def score(self, prompts, replies):
        ...         return np.array([len(reply) / 10 for reply in replies])
        >>> reward = RuleBasedReward(Length())
        >>> prompt = [{"role": "user", "content": "Hi."}]
        >>> completions = [[{"role": "assistant", "content": text}] for text in ("Hello.", "<think>Hm.</think>Hello.")]
        >>> reward([prompt, prompt], completions)
        [0.6, 0.6]
    """

    # TRL uses this name in its logs.
    __name__ = "r_tot"

    def __init__(
        self,
        reward_model: "RewardModel",
        artifact: RewardArtifact | None = None,
        grader: Grader | None = None,
        *,
        on_refusal: OnRefusal = "worst",
        on_note: Callable[[str], None] | None = None,
    ) -> None:
        if artifact is not None and grader is None:
            raise ValueError("an artifact needs a grader")
        self._reward_model = reward_model
        self._artifact = artifact
        self._grader = grader
        self._on_refusal = on_refusal
        self._on_note = on_note
        self.unscored = UnscoredReplies()

    @classmethod
    def open(
        cls,
        directory: str | Path,
        reward_model: "ModelRef",
        grader: "ModelRef | None",
        grader_settings: "GraderSettings",
        batch_size: int = 64,
        *,
        on_refusal: OnRefusal = "worst",
        on_note: Callable[[str], None] | None = None,
    ) -> "RuleBasedReward":
        """Opens a reward directory with the models that its weights were fitted with.

        A grader behind a server is asked the fixed questions of the canary twice; see `rbr.grading.canary`.

        Args:
            directory: A directory that `RewardArtifact.save` wrote, such as ``var/reward`` after `rbr run`.
            reward_model: The reward model R_rm.
            grader: The grader that answers the propositions; None if a server has it and tokenizes for itself.
            grader_settings: Section `grader` of a profile.
            batch_size: Number of replies that R_rm scores together; affects the speed, not the scores.
            on_refusal: See `RuleBasedReward`.
            on_note: See `RuleBasedReward`.

        Raises:
            InputError: The directory contains no reward, a model cannot be opened, the weights were fitted with
                another grader, another reward model or another `few_shot`, or the server cannot be used as a judge.
        """
        artifact = RewardArtifact.load(directory)
        served = model_behind(grader_settings, grader_settings.wait_s)
        check_fitted_with(artifact, reward_model, grader, grader_settings, served=served)
        from rbr.models.reward_model import RewardModel

        opened = open_grader(grader, grader_settings, served)
        if has_canary(grader_settings):
            # With the answers, the grader notices if the server comes back with another model during the training.
            def on_progress(_: int, words: str = "") -> None:
                if on_note is not None:
                    on_note(words)

            check_model(opened, grader_settings, {}, {}, since="the start", on_progress=on_progress)
        return cls(RewardModel(reward_model, batch_size), artifact, opened, on_refusal=on_refusal, on_note=on_note)

    def __call__(
        self,
        prompts: Sequence[Conversation],
        completions: Sequence[Sequence[Mapping[str, Any]]],
        *,
        category: Sequence[str] | None = None,
        log_metric: Callable[[str, float], None] | None = None,
        **_: Any,
    ) -> list[float | None]:
        """Returns the reward of each completion.

        Args:
            prompts: Messages of each prompt; the last message is a user turn.
            completions: One completion per prompt, as a list whose last message is the assistant's.
            category: Content category of each prompt; required with an artifact.
            log_metric: Called with a name and a value, for each metric of `rbr.reward.reward_metrics.reward_metrics`.
            **_: Other columns of the data set, which TRL passes; they are ignored.

        Returns:
            R_tot of each completion, in the order of `completions`; None if R_rbr or the score is not known.

        Raises:
            InputError: There is an artifact, and `category` is missing or contains an unknown category; or the grader
                is away. No reward is made up, so the training ends, and can go on from its last saved state.
        """
        replies = [_reply_text(turns) for turns in completions]
        r_rm = self._reward_model.score(prompts, replies)
        graded = None
        if self._artifact is not None:
            graded = self._by_rules(prompts, replies, _response_types(self._artifact, category))
        r_tot = r_rm if graded is None else r_rm + graded.r_rbr
        self._count_unscored(r_tot, graded)
        if log_metric is not None:
            for name, value in reward_metrics(r_tot, r_rm, graded).items():
                log_metric(name, value)
        return [float(value) if np.isfinite(value) else None for value in r_tot]

    def _by_rules(
        self, prompts: Sequence[Conversation], replies: Sequence[str], response_types: Sequence[str]
    ) -> GradedReplies:
        assert self._artifact is not None and self._grader is not None
        parts = []
        for response_type, rules in self._artifact.rules.items():
            rows = [row for row, row_type in enumerate(response_types) if row_type == response_type]
            if rows:
                conversations = [[*prompts[row], Message(role="assistant", content=replies[row])] for row in rows]
                questions = self._artifact.questions_of(response_type)
                graded = grade_replies(
                    self._grader,
                    rules,
                    conversations,
                    questions,
                    on_refusal=self._on_refusal,
                    on_progress=self._on_progress,
                )
                parts.append((rows, graded))
        self._on_progress(len(replies))
        return GradedReplies.joined(parts, n_replies=len(replies))

    def _count_unscored(self, r_tot: NDArray[np.float64], graded: GradedReplies | None) -> None:
        for row in map(int, np.flatnonzero(~np.isfinite(r_tot))):
            if graded is not None and np.isnan(graded.r_rbr[row]):
                self.unscored.add(graded.cause(row), graded.reasons.get(row, ""))
            else:
                self.unscored.add("got no score from the reward model")

    def _on_progress(self, _: int, note: str = "") -> None:
        if self._on_note is not None:
            self._on_note(note)


def _reply_text(turns: Sequence[Mapping[str, Any]]) -> str:
    """Returns the reply of a completion without its thoughts."""
    # A tokenizer with a response schema may put all text into the thought, and leave out the content.
    return split_thoughts(turns[-1].get("content") or "").text


def _response_types(artifact: RewardArtifact, category: Sequence[str] | None) -> list[str]:
    if category is None:
        raise InputError(
            "the reward needs the content category of each prompt",
            where="category",
            hint="Add a column `category` to the prompts.",
        )
    unknown = sorted(set(category) - set(artifact.response_types))
    if unknown:
        near = nearest_spelling(unknown[0], tuple(artifact.response_types))
        question = f"Did you mean {near}? " if near else ""
        raise InputError(
            f"unknown category {unknown[0]!r}",
            where="category",
            hint=f"{question}Categories of the reward: {', '.join(artifact.response_types)}.",
        )
    return [artifact.response_types[code] for code in category]


def check_fitted_with(
    artifact: RewardArtifact,
    reward_model: "ModelRef",
    grader: "ModelRef | None",
    grader_settings: "GraderSettings",
    *,
    wait_s: float = 0.0,
    served: Mapping[str, Any] | None = None,
) -> None:
    """Checks that the weights of a reward were fitted with these models. Opens no model.

    Args:
        artifact: The fitted reward.
        reward_model: The reward model R_rm.
        grader: Model of the grader that answers the propositions; None if a server has it.
        grader_settings: Section `grader` of a profile.
        wait_s: How long to wait for a server that is away, in seconds.
        served: What the server says about its model, from `rbr.grading.identity.model_behind`; None asks the server.

    Raises:
        InputError: The weights were fitted with another grader, another reward model or another `few_shot`.

    Example:
        >>> from rbr.profile import load_profile
        >>> profile = load_profile("profiles/sandbox.yaml")
        >>> rm, grader = profile.models.helpful_reward_model, profile.models.grader
        >>> artifact = RewardArtifact(propositions={}, rules={}, response_types={}, few_shot=0,
        ...                           grader=identify_grader(grader, profile.grader),
        ...                           reward_model=model_fingerprint(rm, writes=False))
        >>> check_fitted_with(artifact, rm, grader, profile.grader)
        >>> check_fitted_with(artifact, rm, grader, profile.grader.model_copy(update={"few_shot": 2}))
        Traceback (most recent call last):
        rbr.errors.InputError: grader.few_shot: few_shot is 2, but the weights were fitted with 0
        ...
    """
    _check_identity("grader", identify_grader(grader, grader_settings, wait_s, served), artifact.grader)
    _check_identity("reward model", model_fingerprint(reward_model, writes=False), artifact.reward_model)
    if grader_settings.few_shot != artifact.few_shot:
        raise InputError(
            f"few_shot is {grader_settings.few_shot}, but the weights were fitted with {artifact.few_shot}",
            where="grader.few_shot",
            hint=f"Set few_shot to {artifact.few_shot}, or fit the weights again.",
        )


def _check_identity(role: str, actual: str, fitted_with: str) -> None:
    if actual != fitted_with:
        raise InputError(
            f"the weights were fitted with another {role}: its identity is {actual}, and was {fitted_with}",
            where=role,
            hint=f"Use the same {role} with the same prompt and settings, or fit the weights again.",
        )
