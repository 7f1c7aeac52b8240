"""Samples the questions, with their answers, that the grader is trained on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from rbr.rulebook import Rulebook
from rbr_sandbox.questions import answer_of_two, compose, compose_negated, compose_two
from rbr_sandbox.replies import ILLOGICAL, draw_reply
from rbr_sandbox.wordings import CATEGORY_QUESTIONS, PHRASES
from rbr_sandbox.world import training_prompt
from rbr_sandbox.world_prompt import WorldPrompt

QUESTIONS_PER_ROW = 16
# Shares of the questions about a reply: in the words of the rulebook, composed, negated. The rest joins two attributes.
RULEBOOK_SHARE, COMPOSED_SHARE, NEGATED_SHARE = 0.35, 0.4, 0.12
# Share of the questions whose attribute is true of the reply.
TRUE_SHARE = 0.45
# Questions per reply that ask whether the reply is logical: the hardest question, on which every class depends.
ILLOGICAL_QUESTIONS = 2
# Share of the forms, and of the phrases, that are spliced.
SPLICE_SHARE = 0.3

NO_SUBJECT = "nothing"
TRUTH_NAMES = (*PHRASES, *CATEGORY_QUESTIONS)
SUBJECTS = (*TRUTH_NAMES, NO_SUBJECT)
OPERATORS = ("plain", "negated", "and", "or", "but not")


@dataclass(frozen=True)
class TrainingQuestion:
    """A question and its answer.

    Attributes:
        text: Text of the question.
        answer: True for yes.
        subjects: The two `SUBJECTS` that the question is about; the second one is often `NO_SUBJECT`.
        operator: One of `OPERATORS`: "plain", "negated", or the word that joins the two subjects.
    """

    text: str
    answer: bool
    subjects: tuple[str, str]
    operator: str = "plain"


@dataclass(frozen=True)
class QuestionSampler:
    """Samples questions about replies and prompts.

    Attributes:
        rulebook: Rulebook with the wordings that the pipeline will ask.
        base_rates: Attribute -> share of the replies for which the attribute is true.
        extra_share: Share of the forms and phrases that are extra ones; see `rbr_sandbox.questions.compose`.
        reserved_questions: Proposition -> number of a reply's questions that are about this proposition.
    """

    rulebook: Rulebook
    base_rates: Mapping[str, float]
    extra_share: float = 0.0
    reserved_questions: Mapping[str, int] = field(default_factory=lambda: {ILLOGICAL: ILLOGICAL_QUESTIONS})

    @classmethod
    def from_rulebook(cls, rulebook: Rulebook, seed: int, replies: int = 3000) -> "QuestionSampler":
        """Creates a sampler whose base rates are counted on composed replies."""
        rng = Random(seed)
        drawn = [draw_reply(rng, training_prompt(rng), training_prompt).truth for _ in range(replies)]
        parsed = [truth for truth in drawn if len(truth) > 1]
        return cls(rulebook, {name: sum(truth[name] for truth in parsed) / len(parsed) for name in PHRASES})

    def sample_for_prompt(self, rng: Random, prompt: WorldPrompt) -> list[TrainingQuestion]:
        """Samples one question about each category of the content policy."""
        return [
            TrainingQuestion(
                category.question if rng.random() < 0.6 else rng.choice(CATEGORY_QUESTIONS[code]),
                code == prompt.topic.category,
                (code, NO_SUBJECT),
            )
            for code, category in self.rulebook.content_policy.categories.items()
        ]

    def sample_for_reply(self, rng: Random, truth: Mapping[str, bool]) -> list[TrainingQuestion]:
        """Samples questions about the attributes of a reply whose truth is known."""
        only_illogical_known = set(truth) <= {ILLOGICAL}
        count = 2 if only_illogical_known else QUESTIONS_PER_ROW - sum(self.reserved_questions.values())
        return [self._any_question(rng, truth) for _ in range(count)] + [
            self._question_about(rng, name, truth[name])
            for name, reserved in self.reserved_questions.items()
            if name in truth
            for _ in range(reserved)
        ]

    def _any_question(self, rng: Random, truth: Mapping[str, bool]) -> TrainingQuestion:
        """Samples a question about one or two attributes of a reply."""
        name = self._draw_attribute(rng, truth)
        draw = rng.random()
        if draw < RULEBOOK_SHARE and name in self.rulebook.propositions:
            return TrainingQuestion(self.rulebook.propositions[name].question, truth[name], (name, NO_SUBJECT))
        if draw < RULEBOOK_SHARE + COMPOSED_SHARE or len(truth) == 1:
            return self._composed(rng, name, truth[name])
        if draw < RULEBOOK_SHARE + COMPOSED_SHARE + NEGATED_SHARE:
            return self._negated(rng, name, truth[name])
        other = self._draw_attribute(rng, truth)
        text, joiner = compose_two(rng, name, other, SPLICE_SHARE, self.extra_share)
        return TrainingQuestion(text, answer_of_two(truth, name, other, joiner), (name, other), joiner)

    def _question_about(self, rng: Random, name: str, holds: bool) -> TrainingQuestion:
        """Samples a question about one proposition, in the rulebook's words, composed or negated."""
        draw = rng.random()
        if draw < 0.6:
            return TrainingQuestion(self.rulebook.propositions[name].question, holds, (name, NO_SUBJECT))
        return self._composed(rng, name, holds) if draw < 0.85 else self._negated(rng, name, holds)

    def _composed(self, rng: Random, name: str, holds: bool) -> TrainingQuestion:
        return TrainingQuestion(compose(rng, name, SPLICE_SHARE, self.extra_share), holds, (name, NO_SUBJECT))

    def _negated(self, rng: Random, name: str, holds: bool) -> TrainingQuestion:
        text = compose_negated(rng, name, SPLICE_SHARE, self.extra_share)
        return TrainingQuestion(text, not holds, (name, NO_SUBJECT), "negated")

    def _draw_attribute(self, rng: Random, truth: Mapping[str, bool]) -> str:
        """Draws an attribute, nearly half of the time a true one, and preferably an attribute with a rare answer.

        If attributes were drawn uniformly, nearly every answer would be "no", and the answer to "Is there anything
        besides a refusal?" would nearly always be "yes". The grader could then answer without reading the reply.
        """
        wanted = rng.random() < TRUE_SHARE
        names = [name for name in truth if truth[name] == wanted] or list(truth)
        rates = [self.base_rates[name] if truth[name] else 1 - self.base_rates[name] for name in names]
        return rng.choices(names, [1 / rate for rate in rates])[0]
