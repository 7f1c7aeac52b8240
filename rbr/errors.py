"""Errors that tell a user what is wrong with an input, where it is, and what to do about it."""

from collections.abc import Iterable

_LISTED = 50


class Place(str):
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

    def __new__(cls, file: str, line: int | None = None, column: int | None = None, key: str = "") -> "Place":
        """Makes a place; line and column come together or not at all."""
        spot = "" if line is None else f":{line}:{column}"
        place = super().__new__(cls, f"{file}{spot} {key}".rstrip())
        place.file, place.line, place.column, place.key = file, line, column, key
        return place

    def __getnewargs__(self) -> tuple[str, int | None, int | None, str]:  # type: ignore[override]
        return self.file, self.line, self.column, self.key


class InputError(ValueError):
    """A file, setting or argument that cannot be used as given.

    Args:
        what: What is wrong, in one sentence.
        where: The place, for example ``prompts.jsonl:12`` or ``behavior.yaml:4:3 classes.ideal``; a `Place`
            where its parts are known.
        mend: What the user can do about it.

    ``str(error)`` is ``where: what`` followed by the mend on an indented line of its own.
    """

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        located = f"{self.where}: {self.what}" if self.where else self.what
        return f"{located}\n  {self.mend}" if self.mend else located

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild_input_error, (type(self), self.what, self.where, self.mend)


class RulebookError(InputError):
    """One problem of a rulebook or another YAML file, or all the problems that were found in it.

    A single problem is made like an `InputError`; `RulebookError.collect` binds many into one
    error whose text lists them in the order given. ``problems`` holds the single ones either way.
    """

    problems: tuple["RulebookError", ...]

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(what, where=where, mend=mend)
        self.problems = (self,)

    @classmethod
    def collect(cls, problems: Iterable["RulebookError"]) -> "RulebookError":
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
        if self.problems == (self,):
            return super().__str__()
        lines = [f"{self.what}:", *(str(problem) for problem in self.problems[:_LISTED])]
        if len(self.problems) > _LISTED:
            lines.append(f"and {len(self.problems) - _LISTED} more")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[object, ...]:
        if self.problems == (self,):
            return super().__reduce__()
        return RulebookError.collect, (self.problems,)


def _rebuild_input_error(kind: type[InputError], what: str, where: str, mend: str) -> InputError:
    return kind(what, where=where, mend=mend)
