"""Follows a key path into a pydantic model: the keys that are allowed there, and the type and limits of a value."""

import types
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, RootModel
from typing_extensions import is_typeddict

from rbr.errors import KeyPath


def known_keys(model: type[BaseModel], path: KeyPath) -> tuple[str, ...]:
    """Returns the keys that the schema allows in the mapping at `path`."""
    schema, _ = schema_at(model, path)
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return tuple(name for name, info in schema.model_fields.items() if not info.exclude)
    return tuple(get_type_hints(schema)) if is_typeddict(schema) else ()


def schema_at(model: type[BaseModel], path: KeyPath) -> tuple[Any, list[Any]]:
    """Follows a key path into a model.

    Returns:
        The type at `path` without annotations, and the annotations: limits and validators.
    """
    schema, annotations = _unwrapped(model, [])
    for key in path:
        if isinstance(schema, type) and issubclass(schema, BaseModel):
            info = schema.model_fields[str(key)]
            inner, outer = info.annotation, [info]
        elif is_typeddict(schema):
            inner, outer = get_type_hints(schema)[str(key)], []
        else:
            # dict[key, value], list[item] and tuple[item, ...]
            arguments = get_args(schema)
            inner, outer = arguments[1 if get_origin(schema) is dict else 0], []
        schema, annotations = _unwrapped(inner, outer)
    return schema, annotations


def _unwrapped(schema: Any, annotations: list[Any]) -> tuple[Any, list[Any]]:
    """Unwraps ``Annotated``, ``| None`` and root models; collects the annotations."""
    while True:
        if get_origin(schema) is Annotated:
            schema, *more = get_args(schema)
            annotations = [*annotations, *more]
        elif get_origin(schema) in (Union, types.UnionType):
            schema = next(argument for argument in get_args(schema) if argument is not type(None))
        elif isinstance(schema, type) and issubclass(schema, RootModel):
            info = schema.model_fields["root"]
            schema, annotations = info.annotation, [*annotations, info]
        else:
            return schema, annotations
