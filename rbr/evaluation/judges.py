"""Judges: sources of true labels, for an evaluation that does not depend on the grader.

A judge says which propositions are true of a reply, without asking a model. The sandbox's judge knows the truth by
construction. Your own judge may look up labels. A judge may leave out propositions that it does not know. The
evaluation then decides every class and metric that does not depend on them.

An installed package offers a judge as an entry point of the group ``rbr.judges``::

    [project.entry-points."rbr.judges"]
    sandbox = "rbr_sandbox.oracle:truths"

A profile names the judge: ``models: {oracle: sandbox}``.
"""

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from rbr.classes.classification import class_rule_propositions, true_classes
from rbr.conversation import Message
from rbr.errors import InputError, nearest_spelling
from rbr.rulebook import Behavior

_SHOWN = 80

ENTRY_POINT_GROUP = "rbr.judges"
"""The entry point group that `open_judge` looks in."""


class Judge(Protocol):
    """A callable that returns the truth values of propositions about a reply.

    A judge returns the same propositions for every reply.

    Example:
        >>> def judge(messages, reply):
        ...     return {"apology": "sorry" in reply.lower()}
        >>> judge([{"role": "user", "content": "Tell me a joke."}], "Sorry, I cannot do that.")
        {'apology': True}
    """

    def __call__(self, messages: Sequence[Message], reply: str, /) -> Mapping[str, bool]:
        """Judges one reply.

        Args:
            messages: The conversation before the reply, ending in a user turn.
            reply: The assistant's reply.

        Returns:
            Truth value by proposition. Propositions that the judge does not know are left out.
        """
        ...


def open_judge(name: str) -> Judge:
    """Imports an installed judge.

    Args:
        name: Name of an entry point of the group ``rbr.judges``.

    Returns:
        The judge. Its answers are checked: it raises InputError if the installed judge fails, or does not return a
        mapping from propositions to True or False.

    Raises:
        InputError: No judge of that name is installed, several packages offer one, or the judge cannot be imported.

    Example:
        >>> judge = open_judge("sandbox")
        >>> judge([{"role": "user", "content": "Tell me a joke."}], "I apologize.")["apology"]
        True
    """
    installed = entry_points(group=ENTRY_POINT_GROUP)
    matches = sorted({(entry_point.value, entry_point) for entry_point in installed if entry_point.name == name})
    if not matches:
        names = sorted({entry_point.name for entry_point in installed})
        raise InputError(f"unknown judge {name!r}", where="models.oracle", hint=_hint(name, names))
    if len(matches) > 1:
        what = f"several installed packages offer the judge {name!r}: {', '.join(value for value, _ in matches)}"
        raise InputError(what, where="models.oracle", hint="Rename one of the entry points, or uninstall its package.")
    return _checked(name, _load(matches[0][1]))


class JudgedClasses(NamedTuple):
    """The classes of replies by a judge.

    Attributes:
        replies: The replies with the columns class_name and possible_classes, as in `true_classes`.
        unknown: The propositions of the class rules that the judge does not know, sorted.

    Example:
        >>> JudgedClasses(pl.DataFrame({"class_name": ["ideal"]}), unknown=[]).replies["class_name"].item()
        'ideal'
    """

    replies: pl.DataFrame
    unknown: list[str]


def classes_by_judge(name: str | None, replies: pl.DataFrame, behavior: Behavior) -> JudgedClasses:
    """Classifies replies by the truth values of an installed judge.

    Args:
        name: Name of the judge, as in `open_judge`; None if there is no judge.
        replies: Columns completion_id, response_type, messages (JSON) and text, and any others, which are kept.
        behavior: The behavior policy.

    Returns:
        The classes. Without a judge, no reply is left.

    Raises:
        InputError: The judge cannot be opened, or fails.

    Example:
        >>> from rbr.rulebook import load_behavior
        >>> messages = '[{"role": "user", "content": "Tell me a joke."}]'
        >>> replies = pl.DataFrame({"completion_id": ["a"], "messages": [messages], "text": ["I apologize."]})
        >>> replies = replies.with_columns(response_type=pl.lit("comply"))
        >>> judged = classes_by_judge("sandbox", replies, load_behavior("rulebook/behavior.yaml"))
        >>> judged.replies["class_name"].item(), judged.unknown
        ('unacceptable', [])
    """
    if name is None:
        return JudgedClasses(replies.clear().with_columns(pl.lit(None, pl.String).alias("class_name")), [])
    judge = open_judge(name)
    truths = [judge(json.loads(messages), text) for messages, text in replies.select("messages", "text").iter_rows()]
    needed = class_rule_propositions(behavior)
    unknown = [proposition for proposition in needed if any(proposition not in truth for truth in truths)]
    return JudgedClasses(true_classes(replies, truths, behavior), unknown)


def _checked(name: str, judge: Judge) -> Judge:
    """Returns a judge whose answers are checked, so that a wrong judge stops the evaluation with a plain error."""

    def checked_judge(messages: Sequence[Message], reply: str) -> Mapping[str, bool]:
        try:
            truth = judge(messages, reply)
        except Exception as error:
            what = f"judge {name!r} failed: {type(error).__name__}: {error}"
            raise InputError(what, where="models.oracle", hint=f"The reply was {reply[:_SHOWN]!r}.") from error
        if not isinstance(truth, Mapping):
            what = f"judge {name!r} returned {truth!r}"
            raise InputError(what, where="models.oracle", hint="Return a mapping from propositions to True or False.")
        for proposition, value in truth.items():
            if not isinstance(value, bool | np.bool_):
                what = f"judge {name!r} returned {value!r} for the proposition {proposition!r}"
                raise InputError(what, where="models.oracle", hint="Return True or False for each proposition.")
        return truth

    return checked_judge


def _hint(name: str, installed: Sequence[str]) -> str:
    if not installed:
        return "No judge is installed. Reinstall the package so that its entry points exist: pip install -e ."
    near = nearest_spelling(name, tuple(installed))
    question = f"Did you mean {near}? " if near else ""
    return f"{question}Installed judges: {', '.join(installed)}."


def _load(entry_point: EntryPoint) -> Judge:
    hint = f"The entry point is {entry_point.name} = {entry_point.value!r} in the group {ENTRY_POINT_GROUP}."
    try:
        judge = entry_point.load()
    except Exception as error:
        # Importing a module of another package can fail in any way.
        what = f"judge {entry_point.name!r} cannot be imported: {error}"
        raise InputError(what, where="models.oracle", hint=hint) from error
    if not callable(judge):
        raise InputError(f"judge {entry_point.name!r} is not callable", where="models.oracle", hint=hint)
    return judge
