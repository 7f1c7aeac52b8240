"""Errors that say what is wrong with an input, where the problem is, and what to do about it."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

KeyPath = tuple[str | int, ...]
"""Keys and list indices from the top of a document to one of its entries, such as ``("slots", 0, "label")``."""

_MAX_LISTED = 50  # problems
_MAX_SHOWN = 100  # characters
_MAX_SUGGESTED = 40  # names


@dataclass(frozen=True)
class Location:
    """A place in a file, or in a document that was not read from a file.

    Attributes:
        file: File as the user named it; empty if the content was not read from a file.
        line: Line number, from 1; None for a whole file.
        column: Column number, from 1; None for a whole line. If `line` is None: position in a one-line text, from 1.
        key_path: Keys that lead to the entry; empty for the whole document.

    Example:
        >>> location = Location("behavior.yaml", 4, 3, ("classes", 0))
        >>> str(location)
        'behavior.yaml:4:3 classes[0]'
    """

    file: str = ""
    line: int | None = None
    column: int | None = None
    key_path: KeyPath = ()

    @property
    def key(self) -> str:
        """The key path as text, such as ``slots[0].label``."""
        return _format_key_path(self.key_path)

    def __str__(self) -> str:
        if not self.file and self.line is None and self.column is not None:
            return f"character {self.column}"
        numbers = [str(number) for number in (self.line, self.column) if number is not None]
        return f"{':'.join([self.file, *numbers])} {self.key}".strip()


class InputError(ValueError):
    """One or several problems with the user's input: a file, a setting or an argument.

    The constructor makes an error with one problem. `InputError.collect` combines several errors into one, whose text
    lists the problems in order. In both cases, `problems` contains the single problems.

    The text of one problem is ``where: what``. The hint follows on a line of its own, indented.

    Args:
        what: What is wrong, in one sentence.
        where: Location of the problem; plain text if the problem is not in a file, but in an option or a table.
        hint: What the user can do about the problem.

    Example:
        >>> print(InputError("unknown key 'lable'", where=Location("a.yaml", 3, 5), hint="Did you mean `label`?"))
        a.yaml:3:5: unknown key 'lable'
          Did you mean `label`?
    """

    problems: tuple["InputError", ...]

    def __init__(self, what: str, *, where: Location | str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.problems = (self,)

    @classmethod
    def collect(cls, problems: Iterable["InputError"]) -> "InputError":
        """Combines problems into one error.

        Args:
            problems: At least one error. An error that has several problems contributes each of them.

        Returns:
            One error with all problems; the error itself if there is only one problem.

        Raises:
            ValueError: `problems` is empty.
        """
        singles = tuple(single for problem in problems for single in problem.problems)
        if not singles:
            raise ValueError("no problem to collect")
        if len(singles) == 1:
            return singles[0]
        collected = cls(f"{len(singles)} problems")
        collected.problems = singles
        return collected

    def __str__(self) -> str:
        if self.problems != (self,):
            lines = [f"{self.what}:", *(str(problem) for problem in self.problems[:_MAX_LISTED])]
            if len(self.problems) > _MAX_LISTED:
                lines.append(f"and {len(self.problems) - _MAX_LISTED} more")
            return "\n".join(lines)
        where = str(self.where)
        message = f"{where}: {self.what}" if where else self.what
        return f"{message}\n  {self.hint}" if self.hint else message

    def __reduce__(self) -> tuple[object, ...]:
        # Process pools send exceptions as pickles. By default a pickle keeps only the positional arguments.
        if self.problems != (self,):
            return InputError.collect, (self.problems,)
        return _rebuild_input_error, (type(self), self.what, self.where, self.hint)


class ServerAway(InputError):
    """The server of the grader does not answer. No file and no setting has to be wrong.

    Example:
        >>> print(ServerAway("the server is away", where="http://127.0.0.1:8000/v1"))
        http://127.0.0.1:8000/v1: the server is away
    """


def _rebuild_input_error(kind: type[InputError], what: str, where: Location | str, hint: str) -> InputError:
    return kind(what, where=where, hint=hint)


def _format_key_path(path: KeyPath) -> str:
    """Formats a key path like code: ``("slots", 0, "label")`` becomes ``slots[0].label``."""
    text = ""
    for key in path:
        if isinstance(key, int):
            text += f"[{key}]"
        else:
            text += f".{printable(key)}" if text else printable(key)
    return text


def printable(text: str) -> str:
    """Makes text safe to show in a message.

    Returns:
        The text, or its beginning in quotes if the text is longer than 100 characters or has control characters.

    Example:
        >>> print(printable("apology"), printable("two\\nlines"))
        apology 'two\\nlines'
    """
    return text if text.isprintable() and len(text) <= _MAX_SHOWN else repr(text[:_MAX_SHOWN])


def spelling_hint(name: str, known: Iterable[str]) -> str:
    """Returns a hint for an unknown name.

    Args:
        name: The unknown name.
        known: Names that exist.

    Returns:
        A question with the known name that is spelled most like `name`; if no name is near, the first 40 known names.

    Example:
        >>> spelling_hint("appology", ["apology", "judgement"])
        'Did you mean `apology`?'
        >>> spelling_hint("x", ["apology", "judgement"])
        'Known names: apology, judgement.'
    """
    names = tuple(sorted(known))
    if near := nearest_spelling(name, names):
        return f"Did you mean `{near}`?"
    if not names:
        return "No names are defined yet."
    return f"Known names: {', '.join(names[:_MAX_SUGGESTED])}{', ...' if len(names) > _MAX_SUGGESTED else ''}."


@lru_cache(maxsize=1024)
def nearest_spelling(name: str, known: tuple[str, ...]) -> str | None:
    """Returns the known name that is spelled most like `name`; None if no name is near.

    Example:
        >>> nearest_spelling("stepz", ("seed", "steps"))
        'steps'
    """
    return next(iter(difflib.get_close_matches(name[:_MAX_SHOWN], known, n=1, cutoff=0.6)), None)
