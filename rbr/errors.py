"""Errors that tell a user what is wrong with an input, where it is, and what to do about it."""

from collections.abc import Iterable

_LISTED = 50


class Location(str):
    """Where in a file something is, as the text ``file:line:column key`` and in its parts.

    Attributes:
        file: The file as the user named it.
        line: From 1; None where the whole file is meant.
        column: From 1; None where the whole file is meant.
        key: The key path in words, such as ``slots[0].label``; empty where there is none.
    """

    __slots__ = ("column", "file", "key", "line")

    file: str
    line: int | None
    column: int | None
    key: str

    def __new__(cls, file: str, line: int | None = None, column: int | None = None, key: str = "") -> "Location":
        """Makes a place; line and column come together or not at all."""
        spot = "" if line is None else f":{line}:{column}"
        place = super().__new__(cls, f"{file}{spot} {key}".rstrip())
        place.file, place.line, place.column, place.key = file, line, column, key
        return place

    def __getnewargs__(self) -> tuple[str, int | None, int | None, str]:  # type: ignore[override]
        return self.file, self.line, self.column, self.key


class InputError(ValueError):
    """A file, setting or argument that cannot be used, or all the problems that were found in it.

    A single problem is made with the constructor. `InputError.collect` binds many into one error, whose text lists
    them in the order given. `problems` holds the single problems either way.

    Args:
        what: What is wrong, in one sentence.
        where: The location, for example ``prompts.jsonl:12`` or ``behavior.yaml:4:3 classes.ideal``.
        hint: What the user can do about it.

    ``str(error)`` is ``where: what``, followed by the hint on an indented line of its own.
    """

    problems: tuple["InputError", ...]

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint
        self.problems = (self,)

    @classmethod
    def collect(cls, problems: Iterable["InputError"]) -> "InputError":
        """Binds problems into one error; a lone problem is returned as it is.

        Args:
            problems: At least one problem; collected errors among them are flattened.

        Raises:
            ValueError: `problems` is empty.
        """
        flat = tuple(single for problem in problems for single in problem.problems)
        if not flat:
            raise ValueError("no problem to collect")
        if len(flat) == 1:
            return flat[0]
        bound = cls(f"{len(flat)} problems")
        bound.problems = flat
        return bound

    def __str__(self) -> str:
        if self.problems != (self,):
            lines = [f"{self.what}:", *(str(problem) for problem in self.problems[:_LISTED])]
            if len(self.problems) > _LISTED:
                lines.append(f"and {len(self.problems) - _LISTED} more")
            return "\n".join(lines)
        located = f"{self.where}: {self.what}" if self.where else self.what
        return f"{located}\n  {self.hint}" if self.hint else located

    def __reduce__(self) -> tuple[object, ...]:
        # An exception pickles by its positional arguments, and a process pool hands exceptions on as pickles.
        if self.problems != (self,):
            return InputError.collect, (self.problems,)
        return _rebuild_input_error, (self.what, self.where, self.hint)


def _rebuild_input_error(what: str, where: str, hint: str) -> InputError:
    return InputError(what, where=where, hint=hint)
