"""What all sections of a profile have in common: the base class, and the types of their settings."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from rbr.hashing import content_hash

Text = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0.0, allow_inf_nan=False)]
TopP = Annotated[float, Field(gt=0.0, le=1.0)]
Seed = Annotated[int, Field(ge=0, lt=2**31)]
Spellings = Annotated[tuple[Text, ...], Field(min_length=1)]
Options = dict[str, JsonValue]


class Section(BaseModel):
    """A section of a profile. Unknown keys and values of another type are errors, and a section cannot be changed.

    Example:
        >>> class Lengths(Section):
        ...     longest: Count
        >>> Lengths(longest=64).longest
        64
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    def __hash__(self) -> int:
        # A section can contain a mapping, which has no hash of its own.
        return hash(content_hash(self))
