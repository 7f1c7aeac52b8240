"""The parts of a rulebook as frozen models. Each converts to JSON and back; only `Slot.asks_for` is left out.

The models check types, ranges and names within one part. `cross_references` checks the parts against each other.
"""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StrictBool, StrictStr, ValidationInfo, field_validator

from rbr.files.schema_errors import schema_problem
from rbr.rulebook.bars import Agreement, ErrorRateBar
from rbr.rulebook.fields import (
    CategoryCode,
    Distinct,
    Entry,
    ExpressionText,
    Identifier,
    Instruction,
    NamedEntries,
    NonEmptyDistinct,
    Sentence,
    SortedByKey,
    with_names,
)

DEFAULT_MARGIN = 1.0

Sign = Literal["desired", "undesired", "free"]
SIGN_VALUES: dict[Sign, int] = {"desired": 1, "undesired": -1, "free": 0}
"""The weight of a feature times the value of its sign is below 0 if the weight is against the sign."""

Margin = Annotated[float, Field(strict=True, ge=0.0, allow_inf_nan=False)]


class Example(Entry):
    """A labeled reply that shows the grader what a proposition means.

    Attributes:
        reply: The assistant's reply; may be empty.
        answer: Whether the proposition is true of the reply.
        prompt: The user's turn before the reply; None if the answer does not depend on it.

    Example:
        >>> Example(reply="I am sorry, but no.", answer=True).answer
        True
    """

    reply: StrictStr
    answer: StrictBool
    prompt: StrictStr | None = None


class Proposition(Entry):
    """A yes/no statement about the last reply of a conversation (paper section 3.1).

    Attributes:
        name: Key of the entry in the file.
        question: Question that the grader answers with yes or no.
        examples: Labeled replies for few-shot prompts, at most 100.

    Example:
        >>> Proposition(question="Does the reply apologize?").examples
        ()
    """

    name: StrictStr = Field(default="", exclude=True)
    question: Sentence
    examples: Annotated[tuple[Example, ...], Field(max_length=100)] = ()


class Propositions(NamedEntries[Proposition]):
    """`propositions.yaml`: the simple propositions by name.

    Example:
        >>> Propositions.model_validate({"apology": {"question": "Does the reply apologize?"}})["apology"].name
        'apology'
    """

    @field_validator("root")
    @classmethod
    def _name_entries(cls, entries: dict[str, Proposition]) -> dict[str, Proposition]:
        return with_names(entries, "name")


class Slot(Entry):
    """One reply to synthesize for each prompt.

    Attributes:
        name: Name of the slot, unique within the recipe.
        label: Label of the reply; the ranking and the margins are defined over labels.
        may_be: Classes that the graded reply may fall into; a reply of another class is discarded.
        instructions: Alternative instructions; one of them is appended to the prompt. "" appends nothing.
        asks_for: Propositions that every one of the instructions asks the reply to make true. Only `rbr lint` reads
            them, so they are not part of the stored rulebook.

    Example:
        >>> slot = Slot(name="bad_1", label="bad_refusal", may_be=("unacceptable",), instructions=("Scold the user.",))
        >>> slot.label
        'bad_refusal'
    """

    name: Identifier
    label: Identifier
    may_be: NonEmptyDistinct[Identifier]
    instructions: NonEmptyDistinct[Instruction]
    asks_for: Annotated[Distinct[Identifier], Field(exclude=True)] = ()


class Recipe(Entry):
    """The replies to synthesize for a prompt of one response type.

    Attributes:
        slots: One slot per reply; 1 to 100 slots.

    Example:
        >>> slot = Slot(name="ideal", label="perfect_refusal", may_be=("ideal",), instructions=("",))
        >>> Recipe(slots=(slot,)).slots[0].name
        'ideal'
    """

    slots: Annotated[tuple[Slot, ...], Field(min_length=1, max_length=100)]

    @field_validator("slots")
    @classmethod
    def _distinct_names(cls, slots: tuple[Slot, ...]) -> tuple[Slot, ...]:
        names = [slot.name for slot in slots]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise schema_problem(f"two slots have the name {name!r}", "Rename one of the two.", at=(index, "name"))
        return slots


class Synthesis(NamedEntries[Recipe]):
    """`synthesis.yaml`: one recipe per response type.

    Example:
        >>> from rbr.rulebook import load_synthesis
        >>> list(load_synthesis("rulebook/synthesis.yaml"))
        ['comply', 'hard_refusal', 'soft_refusal_intent', 'soft_refusal_method']
    """


def _positions(ranking: tuple[tuple[str, ...], ...]) -> list[tuple[tuple[int, int], str]]:
    """Returns the labels of a ranking, each with its rank and its index within the rank."""
    return [((rank, index), label) for rank, labels in enumerate(ranking) for index, label in enumerate(labels)]


class ResponseTypeRules(Entry):
    """The classes, features, signs, ranking and margins of one response type.

    Attributes:
        classes: Expression by class; every reply must satisfy exactly one of them.
        features: Propositions whose probabilities are features, in addition to the class probabilities (section 3.4).
        ranking: Labels, best first. Labels in the same inner list have equal rank and are never compared.
        margins: Hinge margin by label of the better reply (section 4); 1.0 for labels that the file leaves out. The
            unit is the spread of R_rm within prompts.
        signs: Whether a feature is ``desired`` (its weight is never below 0), ``undesired`` (never above 0) or
            ``free``. The class rules decide the sign of a feature that the file leaves out; it is free if they do not.

    Example:
        >>> rules = ResponseTypeRules(classes={"good": "a", "bad": "not a"}, features=("a",), ranking=(("x",), ("y",)))
        >>> rules.labels, rules.margins
        (('x', 'y'), {'x': 1.0, 'y': 1.0})
    """

    classes: Annotated[SortedByKey[Identifier, ExpressionText], Field(min_length=1)]
    features: Distinct[Identifier]
    ranking: Annotated[tuple[NonEmptyDistinct[Identifier], ...], Field(min_length=1, max_length=100)]
    margins: SortedByKey[Identifier, Margin] = Field(default_factory=dict, validate_default=True)
    signs: SortedByKey[Identifier, Sign] = Field(default_factory=dict)

    @field_validator("ranking")
    @classmethod
    def _rank_once(cls, ranking: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        seen: set[str] = set()
        for position, label in _positions(ranking):
            if label in seen:
                hint = "Keep the label in one rank."
                raise schema_problem(f"the label {label!r} is ranked twice", hint, at=position)
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


class ClassShare(Entry):
    """A metric: the share of replies to some response types that fall into some classes.

    Attributes:
        response_types: Response types whose replies are counted. They are the denominator.
        classes: Classes of the numerator.

    Example:
        >>> ClassShare(response_types=("comply",), classes=("unacceptable",)).classes
        ('unacceptable',)
    """

    response_types: NonEmptyDistinct[Identifier]
    classes: NonEmptyDistinct[Identifier]


class Metrics(Entry):
    """The metrics of the evaluation (section 6), each as a share of classes.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> load_behavior("rulebook/behavior.yaml").metrics.over_refusal.response_types
        ('comply',)
    """

    unsafe: ClassShare
    over_refusal: ClassShare
    illogical: ClassShare
    hard_refusal_style: ClassShare
    soft_refusal_style: ClassShare


class Behavior(Entry):
    """`behavior.yaml`: derived propositions, classes, features, ranking, bars and metrics.

    Attributes:
        derived: Expression by derived proposition (section 3.2); the order of definition does not matter.
        classes: All class names, best to worst (section 3.3).
        response_types: Rules by response type.
        agreement: Bars for the agreement of the grader with human labels.
        error_rate: Bars for the error rate of the fitted reward.
        metrics: Metrics of the evaluation.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> load_behavior("rulebook/behavior.yaml").classes
        ('ideal', 'minimum_acceptable_style', 'unacceptable', 'illogical', 'disallowed')
    """

    derived: SortedByKey[Identifier, ExpressionText] = Field(default_factory=dict)
    classes: NonEmptyDistinct[Identifier]
    response_types: Annotated[SortedByKey[Identifier, ResponseTypeRules], Field(min_length=1)]
    agreement: Agreement
    error_rate: ErrorRateBar = Field(default_factory=ErrorRateBar)
    metrics: Metrics

    def class_names(self, response_type: str) -> tuple[str, ...]:
        """Returns the classes that have a rule for a response type, best to worst.

        Raises:
            KeyError: The policy does not define the response type.
        """
        rules = self.response_types[response_type].classes
        return tuple(name for name in self.classes if name in rules)


class Category(Entry):
    """A kind of request (paper section 1).

    Attributes:
        code: Key of the entry in the file, such as ``K-R``.
        description: Description for people.
        question: Question about the user's last turn that the grader answers with yes or no.
        response_type: Response type of the replies to requests of this kind.

    Example:
        >>> from rbr.rulebook import load_content_policy
        >>> load_content_policy("rulebook/content_policy.yaml").categories["K-R"].response_type
        'hard_refusal'
    """

    code: StrictStr = Field(default="", exclude=True)
    description: Sentence
    question: Sentence
    response_type: Identifier


def _name_categories(categories: dict[str, Category]) -> dict[str, Category]:
    return with_names(categories, "code")


class ContentPolicy(Entry):
    """`content_policy.yaml`: the categories by code.

    Example:
        >>> from rbr.rulebook import load_content_policy
        >>> load_content_policy("rulebook/content_policy.yaml").response_type("K-C")
        'comply'
    """

    categories: Annotated[SortedByKey[CategoryCode, Category], Field(min_length=1), AfterValidator(_name_categories)]

    def response_type(self, code: str) -> str:
        """Returns the response type of a category.

        Raises:
            KeyError: The policy has no category with this code.
        """
        return self.categories[code].response_type


class Rulebook(Entry):
    """A whole rulebook.

    Example:
        >>> from rbr.rulebook import load_rulebook
        >>> len(load_rulebook("rulebook").propositions)
        21
    """

    propositions: Propositions
    synthesis: Synthesis
    behavior: Behavior
    content_policy: ContentPolicy
