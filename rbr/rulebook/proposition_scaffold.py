"""What a new proposition needs in the files of a rulebook, and what its author does by hand.

Nobody but the author knows the question, the class rule and the instructions. They are inserted as empty values, which
are errors until the author fills them in.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rbr.errors import KeyPath, Location
from rbr.files.profile_document import ProfileDocument
from rbr.rulebook.load import BEHAVIOR_FILE, PROPOSITIONS_FILE, SYNTHESIS_FILE
from rbr.rulebook.parts import Rulebook, Slot


@dataclass(frozen=True)
class AuthoringStep:
    """One of the things that the author of a proposition does by hand.

    Attributes:
        title: What the step is about.
        what: What to do, in one or two sentences.
        places: Lines of the rulebook or of the profile that the step is about.

    Example:
        >>> AuthoringStep("Features", "Nothing is left to do.", (Location("behavior.yaml", 94),)).title
        'Features'
    """

    title: str
    what: str
    places: tuple[Location, ...]


@dataclass(frozen=True)
class Insertion:
    """An entry to insert into a mapping or list.

    Attributes:
        into: Key path of the mapping or list.
        at: Key of the entry in the mapping, or index in the list.
        value: Value of the entry.
        lines: The entry in a collection with one entry per line.
        flow: The entry in brackets.

    Example:
        >>> Insertion(("classes",), 1, "bad", ("- bad",), flow="bad").lines
        ('- bad',)
    """

    into: KeyPath
    at: str | int
    value: Any
    lines: tuple[str, ...]
    flow: str


class PropositionScaffold:
    """What is inserted into the files for a proposition, and what is left to do.

    Args:
        name: Name of the proposition.
        response_types: Response types whose replies the proposition is about.
        rulebook: The rulebook without the proposition.

    Attributes:
        name: Name of the proposition.
        rule: Name of the derived proposition that is inserted for its class rule.

    Example:
        >>> from rbr.rulebook import load_rulebook
        >>> scaffold = PropositionScaffold("mentions_helpline", ["comply"], load_rulebook("rulebook"))
        >>> [insertion.into for insertion in scaffold.insertions("behavior.yaml")]
        [('derived',), ('response_types', 'comply', 'features')]
    """

    def __init__(self, name: str, response_types: Sequence[str], rulebook: Rulebook) -> None:
        self.name = name
        self.rule = f"{name}_rule"
        self._types = response_types
        self._rulebook = rulebook
        self._slots = {kind: index for kind in response_types if (index := self._best_slot(kind)) is not None}

    def insertions(self, file: str) -> list[Insertion]:
        """Returns the insertions into a file, in order."""
        return list({PROPOSITIONS_FILE: self._entry, BEHAVIOR_FILE: self._rules, SYNTHESIS_FILE: self._recipes}[file]())

    def left_to_fill_in(self, file: str) -> set[KeyPath]:
        """Returns the key paths of the inserted values that are errors until the author fills them in."""
        if file == PROPOSITIONS_FILE:
            return {(self.name, "question"), *((self.name, "examples", index, "reply") for index in (0, 1))}
        if file == BEHAVIOR_FILE:
            return {("derived", self.rule)}
        return {(*self._slot_path(kind), "instructions", len(self._slot(kind).instructions)) for kind in self._slots}

    def steps(
        self, place: Callable[[str, KeyPath], Location], profile: ProfileDocument | None
    ) -> tuple[AuthoringStep, ...]:
        """Returns what the author does next, in this order: question, class rule, features, recipe, gold labels.

        Args:
            place: Returns the location of a key path of a file that has the insertions.
            profile: Names the file with the gold labels; None if there is no profile.
        """
        name, rule, types = self.name, self.rule, ", ".join(self._types)
        features = {kind: self._rulebook.behavior.response_types[kind].features for kind in self._types}
        return (
            AuthoringStep(
                "Question and examples",
                "Write one yes/no question about the reply. Write a reply for each answer; two to six are best.",
                (place(PROPOSITIONS_FILE, (name,)),),
            ),
            AuthoringStep(
                "Class rule",
                f"Replace the empty expression, and use {rule} in the classes of {types}. Or delete {rule}, and use "
                f"{name} in the expressions that exist. If {name} changes no class, only delete {rule}.",
                (
                    place(BEHAVIOR_FILE, ("derived", rule)),
                    *(place(BEHAVIOR_FILE, ("response_types", kind, "classes")) for kind in self._types),
                ),
            ),
            AuthoringStep(
                "Features",
                f"{name} gets a weight of its own in {types}. If only the classes should count, delete the entry. The "
                "class rules decide the sign of the weight; you can also write `signs`.",
                tuple(
                    place(BEHAVIOR_FILE, ("response_types", kind, "features", len(names)))
                    for kind, names in features.items()
                ),
            ),
            AuthoringStep(
                "Recipe",
                f"If a good reply has {name}, ask for it in every instruction of the slot. If a good reply does not "
                f"have it, delete the empty instruction and the entry in `asks_for`, and ask for {name} in a slot of "
                "worse replies.",
                tuple(
                    place(SYNTHESIS_FILE, (*self._slot_path(kind), "instructions", len(self._slot(kind).instructions)))
                    for kind in self._slots
                ),
            ),
            self._gold_labels(profile),
        )

    def _gold_labels(self, profile: ProfileDocument | None) -> AuthoringStep:
        agreement = self._rulebook.behavior.agreement
        file = None if profile is None else profile.content.get("gold_labels")
        what = (
            f"Label replies to prompts of {', '.join(self._types)} in "
            f"{file or 'the file that `gold_labels` in your profile names'}: at least {agreement.min_labels} with "
            f'`"{self.name}": true` and {agreement.min_labels} with `"{self.name}": false`. {self.name} is used as a '
            "feature if the balanced accuracy of the grader on these labels is at least "
            f"{agreement.bar_of(self.name):g}."
        )
        return AuthoringStep("Gold labels", what, (profile.location(("gold_labels",)),) if profile and file else ())

    def _entry(self) -> Iterator[Insertion]:
        value = {
            "question": "",
            "examples": [{"reply": None, "answer": True}, {"reply": None, "answer": False}],
        }
        lines = (
            "",
            f"{self.name}:",
            '  question: ""',
            "  examples:",
            "    - {reply: null, answer: yes}",
            "    - {reply: null, answer: no}",
        )
        examples = "[{reply: null, answer: yes}, {reply: null, answer: no}]"
        yield Insertion((), self.name, value, lines, f'{self.name}: {{question: "", examples: {examples}}}')

    def _rules(self) -> Iterator[Insertion]:
        comment = (
            f'# Replace "" by an expression with {self.name}, and use {self.rule} in the classes;',
            f"# or delete these lines, and use {self.name} in the expressions that exist.",
        )
        entry = f'{self.rule}: ""'
        if self._rulebook.behavior.derived:
            yield Insertion(("derived",), self.rule, "", (*comment, entry), entry)
        else:
            lines = ("", "derived:", *(f"  {line}" for line in (*comment, entry)))
            yield Insertion((), "derived", {self.rule: ""}, lines, f"derived: {{{entry}}}")
        for kind in self._types:
            count = len(self._rulebook.behavior.response_types[kind].features)
            yield Insertion(("response_types", kind, "features"), count, self.name, (f"- {self.name}",), flow=self.name)

    def _recipes(self) -> Iterator[Insertion]:
        for kind in self._slots:
            path, slot = self._slot_path(kind), self._slot(kind)
            comment = f"# Replace null by an instruction that asks for {self.name}, as every one of the slot must."
            lines = (comment, "- null")
            yield Insertion((*path, "instructions"), len(slot.instructions), None, lines, flow="null")
            if slot.asks_for:
                at = len(slot.asks_for)
                yield Insertion((*path, "asks_for"), at, self.name, (f"- {self.name}",), flow=self.name)
            else:
                entry = f"asks_for: [{self.name}]"
                yield Insertion(path, "asks_for", [self.name], (entry,), flow=entry)

    def _best_slot(self, response_type: str) -> int | None:
        """Returns the index of the slot for the best class; None if no slot accepts the class."""
        best = self._rulebook.behavior.class_names(response_type)[0]
        accepting = [
            (len(slot.may_be), index)
            for index, slot in enumerate(self._rulebook.synthesis[response_type].slots)
            if best in slot.may_be
        ]
        return min(accepting)[1] if accepting else None

    def _slot(self, response_type: str) -> Slot:
        return self._rulebook.synthesis[response_type].slots[self._slots[response_type]]

    def _slot_path(self, response_type: str) -> KeyPath:
        return (response_type, "slots", self._slots[response_type])
