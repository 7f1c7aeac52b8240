"""Base classes of the rulebook's models: frozen entries that refuse unknown keys, and tables of them."""

import difflib
from collections.abc import ItemsView, Iterable, Iterator, KeysView, ValuesView
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, RootModel, StrictStr, model_validator
from pydantic_core import PydanticCustomError

from rbr.errors import InputError
from rbr.rulebook.expressions import KEYWORDS, parse

MAX_ENTRIES = 500

_NAME_HINT = "Use letters, digits and underscores, beginning with a letter or an underscore."


def nearest(name: str, candidates: Iterable[str]) -> str:
    """A hint for an unknown name: its nearest spelling among the candidates, else the candidates."""
    known = sorted(candidates)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"Did you mean `{close[0]}`?"
    if not known:
        return "None is defined yet."
    return f"Known are: {', '.join(known[:40])}{', ...' if len(known) > 40 else ''}."


def complaint(what: str, hint: str, *, at: tuple[str | int, ...] = ()) -> PydanticCustomError:
    """An error for pydantic validators whose hint survives up to the loader.

    Args:
        what: What is wrong.
        hint: What to do about it.
        at: The key path of the culprit within the validated value.
    """
    return PydanticCustomError("rulebook", "{what} ({hint})", {"what": what, "hint": hint, "at": at})


def _check_name(name: str) -> str:
    if not (name.isascii() and name.isidentifier()) or len(name) > 100:
        raise complaint(f"{name[:100]!r} is not a usable name", _NAME_HINT)
    if name.lower() in KEYWORDS:
        raise complaint(f"{name!r} is a word of the expression language", "Choose another name.")
    return name


def _check_code(code: str) -> str:
    if not code.isascii() or not code.replace("-", "").replace("_", "").isalnum() or len(code) > 40:
        raise complaint(f"{code[:100]!r} is not a usable category code", "Use letters, digits, `-` and `_`.")
    return code


def _check_sentence(text: str) -> str:
    if not text.strip():
        raise complaint("the text is empty", "Write it out.")
    return text.strip()


def _canonical_expression(text: str) -> str:
    try:
        return str(parse(text))
    except InputError as error:
        what = f"{error.what} at {error.where} of {text!r}" if error.where else error.what
        raise complaint(what, error.hint) from error


def _check_distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    for index, value in enumerate(values):
        if value in values[:index]:
            raise complaint(f"{value!r} is listed twice", "Keep one of the two.", at=(index,))
    return values


def _by_key(entries: dict[str, Any]) -> dict[str, Any]:
    return dict(sorted(entries.items()))


Identifier = Annotated[StrictStr, AfterValidator(_check_name)]
CategoryCode = Annotated[StrictStr, AfterValidator(_check_code)]
Sentence = Annotated[StrictStr, AfterValidator(_check_sentence)]
Instruction = Annotated[StrictStr, AfterValidator(str.strip)]
ExpressionText = Annotated[StrictStr, AfterValidator(_canonical_expression)]

Item = TypeVar("Item")
Key = TypeVar("Key", bound=str)
# The order of keys in a file has no meaning, so it must not reach any later stage either.
ByName = Annotated[dict[Key, Item], Field(max_length=MAX_ENTRIES), AfterValidator(_by_key)]
Distinct = Annotated[tuple[Item, ...], Field(max_length=MAX_ENTRIES), AfterValidator(_check_distinct)]
Some = Annotated[tuple[Item, ...], Field(min_length=1, max_length=MAX_ENTRIES), AfterValidator(_check_distinct)]


class Entry(BaseModel):
    """A frozen record of the rulebook that refuses unknown keys, naming the nearest known one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_keys(cls, content: Any) -> Any:
        if isinstance(content, dict):
            known = [name for name, info in cls.model_fields.items() if not info.exclude]
            unknown = {
                str(key): nearest(str(key), set(known) - set(content))
                for key in list(content)[:MAX_ENTRIES]
                if key not in cls.model_fields
            }
            if unknown:
                raise PydanticCustomError("unknown_keys", "unknown keys: {keys}", {"keys": unknown})
        return content


EntryT = TypeVar("EntryT", bound=Entry)


class NamedEntries(RootModel[ByName[Identifier, EntryT]], Generic[EntryT]):
    """A frozen mapping from names to entries, in the order of the names."""

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
        """The names, sorted."""
        return self.root.keys()

    def values(self) -> ValuesView[EntryT]:
        """The entries, in the order of their names."""
        return self.root.values()

    def items(self) -> ItemsView[str, EntryT]:
        """Pairs of name and entry, in the order of the names."""
        return self.root.items()


def named(entries: dict[str, EntryT], field: str) -> dict[str, EntryT]:
    """Writes each entry's key into its `field`, so that an entry knows its name.

    Raises:
        PydanticCustomError: An entry was given another name than its key.
    """
    for key, entry in entries.items():
        if getattr(entry, field) not in ("", key):
            hint = f"Remove its `{field}:`."
            raise complaint(f"the entry {key!r} calls itself {getattr(entry, field)!r}", hint, at=(key, field))
    return {key: entry.model_copy(update={field: key}) for key, entry in entries.items()}
