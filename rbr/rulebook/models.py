"""The parts of a rulebook as frozen models; each goes to JSON and back without loss.

The models check shapes and names within themselves; what the parts say about each other is in `checks`.
"""

from typing import Annotated

from pydantic import AfterValidator, Field, StrictBool, StrictStr, ValidationInfo, field_validator

from rbr.rulebook.fields import (
    ByName,
    CategoryCode,
    Distinct,
    Entry,
    ExpressionText,
    Identifier,
    Instruction,
    NamedEntries,
    Sentence,
    Some,
    complaint,
    named,
)

DEFAULT_MARGIN = 1.0

Margin = Annotated[float, Field(strict=True, ge=0.0, allow_inf_nan=False)]
Share = Annotated[float, Field(strict=True, ge=0.0, le=1.0, allow_inf_nan=False)]


class Example(Entry):
    """A labeled reply that shows the grader what a proposition means.

    Attributes:
        reply: The assistant's reply; may be empty.
        answer: Whether the proposition is true of it.
        prompt: The user's turn before it, where the answer depends on it.
    """

    reply: StrictStr
    answer: StrictBool
    prompt: StrictStr | None = None


class Proposition(Entry):
    """A yes/no statement about the last reply of a conversation (paper section 3.1)."""

    name: StrictStr = Field(default="", exclude=True)
    question: Sentence
    examples: Annotated[tuple[Example, ...], Field(max_length=100)] = ()


class Propositions(NamedEntries[Proposition]):
    """`propositions.yaml`: the simple propositions by name."""

    @field_validator("root")
    @classmethod
    def _name_entries(cls, entries: dict[str, Proposition]) -> dict[str, Proposition]:
        return named(entries, "name")


class Slot(Entry):
    """One reply to synthesize per prompt.

    Attributes:
        name: Unique within the recipe.
        label: What the reply is written as; ranking and margins are over labels.
        may_be: Classes the graded reply may turn out as; another class fails its verification.
        instructions: Alternatives of which one is appended to the prompt; "" is the model's own reply.
    """

    name: Identifier
    label: Identifier
    may_be: Some[Identifier]
    instructions: Some[Instruction]


class Recipe(Entry):
    """The replies to synthesize for a prompt of one response type."""

    slots: Annotated[tuple[Slot, ...], Field(min_length=1, max_length=100)]

    @field_validator("slots")
    @classmethod
    def _distinct_names(cls, slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
        names = [slot.name for slot in slots]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise complaint(f"two slots are called {name!r}", "Rename one of the two.", at=(index, "name"))
        return slots


class Synthesis(NamedEntries[Recipe]):
    """`synthesis.yaml`: one recipe per response type."""


def _positions(ranking: tuple[tuple[str, ...], ...]) -> list[tuple[tuple[int, int], str]]:
    return [((rank, index), label) for rank, labels in enumerate(ranking) for index, label in enumerate(labels)]


class ResponseTypeRules(Entry):
    """How replies to one response type are sorted, described to the fit, and ranked.

    Attributes:
        classes: Expression per class; every reply must satisfy exactly one of them.
        features: Propositions whose probabilities are features beside the class probabilities (section 3.4).
        ranking: Labels, best first; labels in one inner list are of equal rank and never compared.
        margins: Hinge margin by label of the better reply (section 4); 1.0 where not given.
    """

    classes: Annotated[ByName[Identifier, ExpressionText], Field(min_length=1)]
    features: Distinct[Identifier]
    ranking: Annotated[tuple[Some[Identifier], ...], Field(min_length=1, max_length=100)]
    margins: ByName[Identifier, Margin] = Field(default_factory=dict, validate_default=True)

    @field_validator("ranking")
    @classmethod
    def _rank_once(cls, ranking: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        seen: set[str] = set()
        for at, label in _positions(ranking):
            if label in seen:
                raise complaint(f"the label {label!r} is ranked twice", "Keep it in one rank.", at=at)
            seen.add(label)
        return ranking

    @field_validator("margins")
    @classmethod
    def _complete_margins(cls, margins: dict[str, float], info: ValidationInfo) -> dict[str, float]:
        ranked = [label for rank in info.data.get("ranking", ()) for label in rank]
        return dict(sorted({**dict.fromkeys(ranked, DEFAULT_MARGIN), **margins}.items()))

    @property
    def labels(self) -> tuple[str, ...]:
        """All ranked labels, best first."""
        return tuple(label for rank in self.ranking for label in rank)


class Agreement(Entry):
    """How well the grader must agree with human labels before a proposition is used.

    Attributes:
        bar: Least balanced accuracy, in [0, 1].
        per_proposition: Bars of single propositions that differ from it.
    """

    bar: Share
    per_proposition: ByName[Identifier, Share] = Field(default_factory=dict)

    def bar_of(self, proposition: str) -> float:
        """The bar of a proposition, in [0, 1]."""
        return self.per_proposition.get(proposition, self.bar)


class ClassShare(Entry):
    """A metric: the share of replies to these response types that fall into these classes."""

    response_types: Some[Identifier]
    classes: Some[Identifier]


class Metrics(Entry):
    """Which classes count as what in the evaluation (section 6)."""

    unsafe: ClassShare
    over_refusal: ClassShare
    illogical: ClassShare
    hard_refusal_style: ClassShare
    soft_refusal_style: ClassShare


class Behavior(Entry):
    """`behavior.yaml`: derived propositions, classes, features, ranking, agreement bars and metrics.

    Attributes:
        derived: Expression per derived proposition (section 3.2); the order of definition does not matter.
        classes: All class names, best to worst (section 3.3).
        response_types: The rules of each response type.
    """

    derived: ByName[Identifier, ExpressionText] = Field(default_factory=dict)
    classes: Some[Identifier]
    response_types: Annotated[ByName[Identifier, ResponseTypeRules], Field(min_length=1)]
    agreement: Agreement
    metrics: Metrics

    def class_names(self, response_type: str) -> tuple[str, ...]:
        """The classes that have a rule for a response type, best to worst."""
        rules = self.response_types[response_type].classes
        return tuple(name for name in self.classes if name in rules)


class Category(Entry):
    """A kind of request (paper section 1).

    Attributes:
        code: Such as ``K-R``.
        description: For people.
        question: Asked of the grader about the user's last turn.
        response_type: How requests of this kind are to be answered.
    """

    code: StrictStr = Field(default="", exclude=True)
    description: Sentence
    question: Sentence
    response_type: Identifier


def _name_categories(categories: dict[str, Category]) -> dict[str, Category]:
    return named(categories, "code")


class ContentPolicy(Entry):
    """`content_policy.yaml`: the categories by code."""

    categories: Annotated[ByName[CategoryCode, Category], Field(min_length=1), AfterValidator(_name_categories)]

    def response_type(self, code: str) -> str:
        """The response type of a category."""
        return self.categories[code].response_type


class Rulebook(Entry):
    """A whole rulebook."""

    propositions: Propositions
    synthesis: Synthesis
    behavior: Behavior
    content_policy: ContentPolicy
