"""Field types of a rulebook, and the base classes of its parts: frozen entries, and mappings from names to entries."""

from collections.abc import ItemsView, Iterator, KeysView, ValuesView
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, StrictStr

from rbr.errors import InputError, Location
from rbr.files.schema_errors import schema_problem
from rbr.rulebook.expressions import KEYWORDS, parse_expression

MAX_ENTRIES = 500

_NAME_HINT = "Use letters, digits and underscores, beginning with a letter or an underscore."


def _check_name(name: str) -> str:
    if not (name.isascii() and name.isidentifier()) or len(name) > 100:
        raise schema_problem(f"{name[:100]!r} is not a usable name", _NAME_HINT)
    if name.lower() in KEYWORDS:
        raise schema_problem(f"{name!r} is a keyword of expressions", "Choose another name.")
    return name


def _check_code(code: str) -> str:
    if not code.isascii() or not code.replace("-", "").replace("_", "").isalnum() or len(code) > 40:
        raise schema_problem(f"{code[:100]!r} is not a usable category code", "Use letters, digits, `-` and `_`.")
    return code


def _check_sentence(text: str) -> str:
    if not text.strip():
        raise schema_problem("the text is empty", "Write at least one word.")
    return text.strip()


def _canonical_expression(text: str) -> str:
    try:
        return str(parse_expression(text))
    except InputError as error:
        position = f" at {error.where} of {text!r}" if isinstance(error.where, Location) else ""
        raise schema_problem(f"{error.what}{position}", error.hint) from error


def _check_distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise schema_problem(f"{value!r} is listed twice", "Keep one of the two.", at=(index,))
    return values


def _sort_by_key(entries: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(entries.items()))


Identifier = Annotated[StrictStr, AfterValidator(_check_name)]
CategoryCode = Annotated[StrictStr, AfterValidator(_check_code)]
Sentence = Annotated[StrictStr, AfterValidator(_check_sentence)]
Instruction = Annotated[StrictStr, AfterValidator(str.strip)]
ExpressionText = Annotated[StrictStr, AfterValidator(_canonical_expression)]

Item = TypeVar("Item")
Key = TypeVar("Key", bound=str)
# The order of keys in a file has no meaning. Sorting keeps it from changing a hash or the order of later results.
SortedByKey = Annotated[dict[Key, Item], Field(max_length=MAX_ENTRIES), AfterValidator(_sort_by_key)]
Distinct = Annotated[tuple[Item, ...], Field(max_length=MAX_ENTRIES), AfterValidator(_check_distinct)]
NonEmptyDistinct = Annotated[
    tuple[Item, ...], Field(min_length=1, max_length=MAX_ENTRIES), AfterValidator(_check_distinct)
]


class Entry(BaseModel):
    """Base class of the records of a rulebook. They are frozen, and unknown keys are errors.

    Example:
        >>> class Contact(Entry):
        ...     name: str
        >>> Contact(name="safety team")
        Contact(name='safety team')
    """

    model_config = ConfigDict(extra="forbid", frozen=True)


EntryT = TypeVar("EntryT", bound=Entry)


class NamedEntries(RootModel[SortedByKey[Identifier, EntryT]], Generic[EntryT]):
    """Base class of frozen mappings from names to entries, sorted by name.

    Example:
        >>> class Contact(Entry):
        ...     address: str
        >>> contacts = NamedEntries[Contact].model_validate({"team": {"address": "a@example.org"}})
        >>> contacts["team"].address
        'a@example.org'
    """

    model_config = ConfigDict(frozen=True)

    def __getitem__(self, name: str) -> EntryT:
        return self.root[name]

    def __iter__(self) -> Iterator[str]:  # type: ignore[override]
        return iter(self.root)

    def __len__(self) -> int:
        return len(self.root)

    def __contains__(self, name: object) -> bool:
        return name in self.root

    def keys(self) -> KeysView[str]:
        """Returns the names, sorted."""
        return self.root.keys()

    def values(self) -> ValuesView[EntryT]:
        """Returns the entries, in the order of their names."""
        return self.root.values()

    def items(self) -> ItemsView[str, EntryT]:
        """Returns pairs of name and entry, in the order of the names."""
        return self.root.items()


def with_names(entries: dict[str, EntryT], field: str) -> dict[str, EntryT]:
    """Sets a field of each entry to the entry's key.

    Args:
        entries: Entries by key.
        field: Name of the field, which is empty or equal to the key.

    Returns:
        Copies of the entries, by key.

    Raises:
        PydanticCustomError: The field of an entry has another value than the key.
    """
    for key, entry in entries.items():
        if getattr(entry, field) not in ("", key):
            what = f"the entry {key!r} has a different {field}: {getattr(entry, field)!r}"
            raise schema_problem(what, f"Remove `{field}:`.", at=(key, field))
    return {key: entry.model_copy(update={field: key}) for key, entry in entries.items()}
