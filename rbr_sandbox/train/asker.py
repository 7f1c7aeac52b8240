"""The questions of the grader's training, with their answers."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from rbr.rulebook import Rulebook
from rbr_sandbox.questions import answer_of_two, compose, compose_negated, compose_two
from rbr_sandbox.replies import ILLOGICAL, draw_reply
from rbr_sandbox.wordings import CATEGORY_QUESTIONS, PHRASES
from rbr_sandbox.world import WorldPrompt, training_prompt

QUESTIONS_PER_ROW = 16
# What a question about a reply is: in the rulebook's own words, composed, negated; the rest asks two things at once.
SHIPPED, COMPOSED, NEGATED = 0.35, 0.4, 0.12
ASKED_WHERE_TRUE = 0.45
# Whether the reply makes sense is the hardest to learn, and all classes need it.
ASKED_OF_SENSE = 2
LOOSE = 0.3  # of the forms and phrases of composed questions

NOTHING = "nothing"
TRUTHS = (*PHRASES, *CATEGORY_QUESTIONS)
SUBJECTS = (*TRUTHS, NOTHING)
HOWS = ("plain", "negated", "and", "or", "but not")


@dataclass(frozen=True)
class Asked:
    """A question and its answer.

    Attributes:
        text: The question.
        answer: Whether it is yes.
        subjects: The one or two of `SUBJECTS` that it is about.
        how: One of `HOWS`: as it stands, negated, or what joins the two.
    """

    text: str
    answer: bool
    subjects: tuple[str, str]
    how: str = "plain"


@dataclass(frozen=True)
class Asker:
    """Draws questions about replies.

    Attributes:
        rulebook: Whose wordings the pipeline will ask.
        rates: Attribute -> share of replies that have it.
        free: Share of composed questions in free forms, and of phrases that are free.
        often: How many of a reply's questions are about a proposition that is asked about more than others.
    """

    rulebook: Rulebook
    rates: Mapping[str, float]
    free: float = 0.0
    often: Mapping[str, int] = field(default_factory=lambda: {ILLOGICAL: ASKED_OF_SENSE})

    @classmethod
    def of(cls, rulebook: Rulebook, seed: int, replies: int = 3000) -> "Asker":
        """Counts the attributes of composed replies."""
        rng = Random(seed)
        known = [draw_reply(rng, training_prompt(rng), training_prompt).truth for _ in range(replies)]
        parsed = [truth for truth in known if len(truth) > 1]
        return cls(rulebook, {name: sum(truth[name] for truth in parsed) / len(parsed) for name in PHRASES})

    def question(self, rng: Random, truth: Mapping[str, bool]) -> Asked:
        """A question about some attribute, or two, of a reply."""
        name = self._attribute(rng, truth)
        draw = rng.random()
        if draw < SHIPPED and name in self.rulebook.propositions:
            return Asked(self.rulebook.propositions[name].question, truth[name], (name, NOTHING))
        if draw < SHIPPED + COMPOSED or len(truth) == 1:
            return Asked(compose(rng, name, LOOSE, self.free), truth[name], (name, NOTHING))
        if draw < SHIPPED + COMPOSED + NEGATED:
            return Asked(compose_negated(rng, name, LOOSE, self.free), not truth[name], (name, NOTHING), "negated")
        other = self._attribute(rng, truth)
        text, how = compose_two(rng, name, other, LOOSE, self.free)
        return Asked(text, answer_of_two(truth, name, other, how), (name, other), how)

    def about(self, rng: Random, name: str, holds: bool) -> Asked:
        """A question about one proposition, in shipped or in other words, now and then negated."""
        draw = rng.random()
        if draw < 0.6:
            return Asked(self.rulebook.propositions[name].question, holds, (name, NOTHING))
        if draw < 0.85:
            return Asked(compose(rng, name, LOOSE, self.free), holds, (name, NOTHING))
        return Asked(compose_negated(rng, name, LOOSE, self.free), not holds, (name, NOTHING), "negated")

    def about_prompt(self, rng: Random, prompt: WorldPrompt) -> list[Asked]:
        """A question about each category of the content policy."""
        return [
            Asked(
                category.question if rng.random() < 0.6 else rng.choice(CATEGORY_QUESTIONS[code]),
                code == prompt.topic.category,
                (code, NOTHING),
            )
            for code, category in self.rulebook.content_policy.categories.items()
        ]

    def about_reply(self, rng: Random, truth: Mapping[str, bool]) -> list[Asked]:
        """Questions about a reply, as far as it is known."""
        known = [name for name in truth if name != ILLOGICAL]
        others = QUESTIONS_PER_ROW - sum(self.often.values()) if known else 2
        return [self.question(rng, truth) for _ in range(others)] + [
            self.about(rng, name, truth[name])
            for name, times in self.often.items()
            if name in truth
            for _ in range(times)
        ]

    def _attribute(self, rng: Random, truth: Mapping[str, bool]) -> str:
        """One that holds, nearly half of the time; the rarer that answer is, the likelier it is asked for.

        Asked at random, nearly every answer would be no, and "Is there anything besides a refusal?" would always be
        yes: a question would tell its answer.
        """
        wanted = rng.random() < ASKED_WHERE_TRUE
        names = [name for name in truth if truth[name] == wanted] or list(truth)
        return rng.choices(names, [1 / (self.rates[n] if truth[n] else 1 - self.rates[n]) for n in names])[0]
