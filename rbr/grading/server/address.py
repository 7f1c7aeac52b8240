"""The address of a server, and the key that a request carries and that no text shows."""

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit, urlunsplit

from rbr.errors import InputError

if TYPE_CHECKING:
    from rbr.profile import GraderSettings

API_KEY_VARIABLE = "RBR_GRADER_API_KEY"
"""Environment variable with the API key of the server, if the server needs one."""

_WHERE = "grader.base_url"
_BEGINNING = 8  # So many characters of a key are a part of it, such as a key in a text that is cut.
# Keys that a server repeats in its message, perhaps one that another program set.
_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:sk|pk|hf|gsk)[-_][A-Za-z0-9_\-*.]{6,}|(?<=Bearer )[^\s\"',]+")


@dataclass(frozen=True)
class Address:
    """Where a server is, and the key for it.

    Attributes:
        base_url: Address of the API, without a slash at the end.
        key: API key; empty if the server needs none. It is not part of the object's text.

    Example:
        >>> address = Address("http://127.0.0.1:8000/v1", key="secret-1")
        >>> address.url("/models"), address.redact("wrong key: secret-1")
        ('http://127.0.0.1:8000/v1/models', 'wrong key: ***')
    """

    base_url: str
    key: str = ""

    @classmethod
    def of(cls, settings: "GraderSettings") -> "Address":
        """Returns the address that the settings name, with the key from the environment.

        Raises:
            InputError: `base_url` or `model_name` is missing, the address is not a URL or contains a password, or the
                key has characters that no header can carry.
        """
        if not settings.base_url or not settings.model_name:
            raise InputError(
                "the openai backend needs base_url and model_name",
                where="grader",
                hint="Set grader.base_url and grader.model_name in the profile.",
            )
        try:
            parts = urlsplit(settings.base_url.strip())
            _ = parts.port  # A port that is not a number raises.
        except ValueError as error:
            raise InputError(f"{settings.base_url!r} is not an address: {error}", where=_WHERE) from error
        if parts.username or parts.password:
            raise InputError(
                "the address contains a user name or a password",
                where=_WHERE,
                hint=f"Remove it from the profile, and put the key into the environment variable {API_KEY_VARIABLE}.",
            )
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise InputError(
                f"{settings.base_url!r} is not an address of a server",
                where=_WHERE,
                hint="Write the whole address, such as http://127.0.0.1:8000/v1.",
            )
        key = os.environ.get(API_KEY_VARIABLE, "").strip()
        if not (key.isascii() and key.isprintable()):
            raise InputError(
                "the key has line breaks or characters outside ASCII",
                where=f"the environment variable {API_KEY_VARIABLE}",
                hint="Copy the key again, without quotation marks or line breaks.",
            )
        return cls(urlunsplit(parts._replace(fragment="")), key)

    def url(self, path: str, above_api: bool = False) -> str:
        """Returns the URL of a path such as ``/models``; a query of the base URL stays at the end.

        Args:
            path: Path below the API.
            above_api: Whether the path is beside ``/v1`` instead of below it.
        """
        parts = urlsplit(self.base_url)
        base = parts.path.rstrip("/")
        return urlunsplit(parts._replace(path=(base.removesuffix("/v1") if above_api else base) + path))

    @property
    def key_header(self) -> dict[str, str]:
        """The header with the key; empty without a key. Azure's classic address reads another header than others."""
        if not self.key:
            return {}
        parts = urlsplit(self.base_url)
        is_azure = (parts.hostname or "").endswith(".openai.azure.com") or "api-version=" in parts.query
        return {"api-key": self.key} if is_azure else {"Authorization": f"Bearer {self.key}"}

    def redact(self, text: str) -> str:
        """Returns a text without the key, its beginning, and other texts that look like a key.

        Everything that a server says passes here before it leaves the client: errors, reasons, notes and warnings.
        """
        for key in self._spelled_keys:
            text = _without(text, key)
        return _LOOKS_LIKE_A_KEY.sub("***", text)

    def without_key(self, value: Any) -> Any:
        """Returns a value of JSON without the key. A key of a few letters can be a word, and stays."""
        if len(self.key) < _BEGINNING:
            return value
        if isinstance(value, str):
            return value.replace(self.key, "***")
        if isinstance(value, Mapping):
            return {name: self.without_key(part) for name, part in value.items()}
        return [self.without_key(part) for part in value] if isinstance(value, list) else value

    def problem(self, what: str, hint: str, kind: type[InputError] = InputError) -> InputError:
        """Returns an error about the server. A server can repeat the key in every field, also in a model's name."""
        return kind(self.redact(what), where=self.redact(self.base_url), hint=self.redact(hint))

    @cached_property
    def _spelled_keys(self) -> tuple[str, ...]:
        """The key as it is, in a URL, in JSON and as Python writes it; each once."""
        if not self.key:
            return ()
        spelled = (self.key, quote(self.key, safe=""), json.dumps(self.key)[1:-1], repr(self.key)[1:-1])
        return tuple(dict.fromkeys(spelled))

    def __repr__(self) -> str:
        return f"Address({self.base_url!r})"


def _without(text: str, key: str) -> str:
    """Returns a text without the key and its beginnings of at least `_BEGINNING` characters."""
    beginning = key[:_BEGINNING]
    parts = text.split(beginning)
    for number in range(1, len(parts)):
        part, rest = parts[number], key[len(beginning) :]
        n_same = next((n for n in range(min(len(part), len(rest))) if part[n] != rest[n]), min(len(part), len(rest)))
        parts[number] = part[n_same:]
    return "***".join(parts)
