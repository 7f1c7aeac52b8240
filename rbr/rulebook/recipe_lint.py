"""Warns about recipes that cannot give the replies that the class rules describe.

The texts of instructions are never interpreted. A warning compares the class rules with what a recipe declares: the
classes that a slot accepts (`may_be`), and the propositions that its instructions ask for (`asks_for`).
"""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from rbr.rulebook.class_diagram import ClassDiagram
from rbr.rulebook.cross_references import Finding
from rbr.rulebook.parts import Recipe, Slot, Synthesis
from rbr.rulebook.possible_classes import possible_classes


def lint_recipes(synthesis: Synthesis, diagrams: Mapping[str, ClassDiagram]) -> Iterator[Finding]:
    """Yields the warnings about the recipes of `synthesis.yaml`. Each is true for all possible replies.

    Args:
        synthesis: The recipes.
        diagrams: The compiled classes by response type.

    Example:
        >>> from rbr.rulebook import compile_classes, load_rulebook
        >>> rulebook = load_rulebook("rulebook")
        >>> diagrams = {name: compile_classes(rulebook.behavior, name) for name in rulebook.behavior.response_types}
        >>> list(lint_recipes(rulebook.synthesis, diagrams))
        []
    """
    for response_type, recipe in synthesis.items():
        diagram = diagrams[response_type]
        for index, slot in enumerate(recipe.slots):
            yield from _check_slot(slot, diagram, (response_type, "slots", index))
        yield from _check_best_class(response_type, recipe, diagram)


def necessary_propositions(diagram: ClassDiagram, class_name: str) -> tuple[str, ...]:
    """Returns the propositions that are true of every possible reply of a class, sorted; empty if no reply has it.

    Example:
        >>> from rbr.rulebook import compile_rules
        >>> rules = {"good": "a and (b or c)", "bad": "not a or not (b or c)"}
        >>> necessary_propositions(compile_rules(rules, ["good", "bad"]), "good")
        ('a',)
    """
    if class_name not in diagram.reachable_classes:
        return ()
    return tuple(name for name in diagram.propositions if class_name not in _classes_with(diagram, {name: False}))


def _check_slot(slot: Slot, diagram: ClassDiagram, path: tuple[str | int, ...]) -> Iterator[Finding]:
    if diagram.reachable_classes.isdisjoint(slot.may_be):
        what = f"the slot {slot.name!r} can never be filled: no reply falls into the classes in `may_be`"
        yield Finding((*path, "may_be"), what, "Choose classes that replies can fall into.")
        return
    asks_path = (*path, "asks_for")
    if slot.asks_for and "" in slot.instructions:
        what = f'the instruction "" of the slot {slot.name!r} asks for nothing, but `asks_for` is not empty'
        yield Finding(asks_path, what, "Write out the instruction, or remove `asks_for`.")
    accepted = " or ".join(f"`{name}`" for name in slot.may_be)
    excluded = [
        (position, name)
        for position, name in enumerate(slot.asks_for)
        if _classes_with(diagram, {name: True}).isdisjoint(slot.may_be)
    ]
    for position, name in excluded:
        what = f"the slot {slot.name!r} asks for {name!r}, but no reply with {name} has the class {accepted}"
        yield Finding((*asks_path, position), what, "Correct the instructions and `asks_for`, `may_be` or the classes.")
    if not excluded and _classes_with(diagram, dict.fromkeys(slot.asks_for, True)).isdisjoint(slot.may_be):
        what = f"no reply with everything that the slot {slot.name!r} asks for has the class {accepted}"
        yield Finding(asks_path, what, "Correct the instructions and `asks_for`, `may_be` or the classes.")


def _check_best_class(response_type: str, recipe: Recipe, diagram: ClassDiagram) -> Iterator[Finding]:
    """Warns if no slot asks for a proposition that every reply of the best class needs.

    Without such a slot, hardly any candidate has the best class, so hardly any ideal reply is kept.
    """
    best = diagram.classes[0]
    needed = necessary_propositions(diagram, best)
    slots = [(index, slot) for index, slot in enumerate(recipe.slots) if best in slot.may_be]
    if not slots:
        if best in diagram.reachable_classes:
            what = f"no slot of {response_type} accepts the class {best!r}: no synthetic reply can have the best class"
            yield Finding((response_type, "slots"), what, f"Add {best} to `may_be` of a slot.")
        return
    first, slot = slots[0]
    path = (response_type, "slots", first)
    if needed and not any(other.asks_for for other in recipe.slots):
        what = (
            f"no slot of {response_type} says what its instructions ask for, but every reply of the class {best!r} "
            f"needs {_listed(needed)}"
        )
        hint = f"List what every instruction of the slot {slot.name!r} asks for: `asks_for: [{', '.join(needed)}]`."
        yield Finding(path, what, hint)
        return
    for name in needed:
        if not any(name in other.asks_for for _, other in slots):
            what = (
                f"no instruction of {response_type} asks for {name!r}, but every reply of the class {best!r} needs it"
            )
            hint = f"Ask for it in every instruction of the slot {slot.name!r}, and add {name} to its `asks_for`."
            yield Finding((*path, "asks_for"), what, hint)


def _classes_with(diagram: ClassDiagram, truth: Mapping[str, bool]) -> frozenset[str]:
    """Returns the classes of the possible replies with these truth values."""
    values = np.array([[truth.get(name, False) for name in diagram.propositions]], dtype=np.bool_)
    unknown = np.array([[name not in truth for name in diagram.propositions]], dtype=np.bool_)
    (possible,) = possible_classes(diagram, values, unknown)
    return frozenset(np.array(diagram.classes)[possible].tolist())


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
