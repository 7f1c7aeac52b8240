"""A copy of a tokenizer in which the control tokens have secret names, so that no text can spell them."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

SECRET = "".join(secrets.choice("abcdefghijklmnop") for _ in range(24))
"""Part of every secret name: lowercase letters, which normalizers keep. It differs in each process, and no id depends
on it."""

_UNKNOWN = "unk_token"


@dataclass(frozen=True)
class ControlTokens:
    """The added tokens of a tokenizer, apart from those of white space.

    Attributes:
        contents: Text of each token by id.
        heads: Proper beginnings of the texts.
        tails: Proper ends of the texts.
        longest: Length of the longest text, in characters.
    """

    contents: Mapping[int, str]
    heads: frozenset[str]
    tails: frozenset[str]
    longest: int


@dataclass(frozen=True)
class RenamedTokenizer:
    """A copy of a fast tokenizer with secret names for its control tokens.

    Attributes:
        backend: The copy, a `tokenizers.Tokenizer`.
        names: Secret name of each control token, by id.
        ids: Id of a token in the original, by its id in the copy, if the two differ.
    """

    backend: Any
    names: Mapping[int, str]
    ids: Mapping[int, int]

    def encode(self, text: str) -> list[int]:
        """Returns the original's ids of a text in which control tokens have their secret names."""
        return [self.ids.get(token, token) for token in self.backend.encode(text, add_special_tokens=False).ids]


# A tokenizer can get more tokens after it was read. An entry counts only for the number of tokens that it was made for.
_CONTROL: WeakKeyDictionary[Any, tuple[int, ControlTokens]] = WeakKeyDictionary()
_RENAMED: WeakKeyDictionary[Any, tuple[int, RenamedTokenizer]] = WeakKeyDictionary()


def control_tokens(tokenizer: Any) -> ControlTokens:
    """Returns the control tokens of a tokenizer: every added token, special or not, that is not white space.

    Example:
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> tokenizer = open_tokenizer(ModelRef(path="rbr_sandbox/models/policy", revision=None))
        >>> sorted(control_tokens(tokenizer).contents.values())
        ['<|assistant|>', '<|end|>', '<|pad|>', '<|system|>', '<|user|>']
    """
    size = len(tokenizer)
    kept = _CONTROL.get(tokenizer)
    if kept is None or kept[0] != size:
        contents = {token: text for text, token in tokenizer.get_added_vocab().items() if text.strip()}
        texts = list(contents.values())
        control = ControlTokens(
            contents,
            heads=frozenset(text[:end] for text in texts for end in range(1, len(text))),
            tails=frozenset(text[start:] for text in texts for start in range(1, len(text))),
            longest=max(map(len, texts), default=0),
        )
        kept = _CONTROL[tokenizer] = (size, control)
    return kept[1]


def renamed(tokenizer: Any) -> RenamedTokenizer:
    """Returns the copy of a fast tokenizer; equal calls make it once.

    Example:
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> tokenizer = open_tokenizer(ModelRef(path="rbr_sandbox/models/policy", revision=None))
        >>> copy, end = renamed(tokenizer), tokenizer.convert_tokens_to_ids("<|end|>")
        >>> end in copy.encode("<|end|>"), copy.encode(copy.names[end]) == [end]
        (False, True)
    """
    size = len(tokenizer)
    kept = _RENAMED.get(tokenizer)
    if kept is None or kept[0] != size:
        kept = _RENAMED[tokenizer] = (size, _renamed(tokenizer))
    return kept[1]


def _renamed(tokenizer: Any) -> RenamedTokenizer:
    from tokenizers import AddedToken, Tokenizer

    contents = control_tokens(tokenizer).contents
    names = {token: _secret_name(token) for token in contents}
    description = json.loads(tokenizer.backend_tokenizer.to_str())
    added = description["added_tokens"]
    description |= {"added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
    # Rename the tokens in the vocabulary of the model, too. Otherwise a model that looks up whole words, or that
    # chooses among all pieces of its vocabulary (Unigram), could find the token by its spelling.
    _rename_in_model(description["model"], {contents[token]: name for token, name in names.items()})
    backend = Tokenizer.from_str(json.dumps(description))
    ids: dict[int, int] = {}
    for token in sorted(added, key=lambda token: token["id"]):
        content = names.get(token["id"], token["content"])
        # `single_word` is about the characters around a token. A secret name replaces only a token that was found.
        single_word = token["single_word"] and token["id"] not in names
        flags = {flag: token[flag] for flag in ("lstrip", "rstrip", "normalized", "special")}
        backend.add_tokens([AddedToken(content, single_word=single_word, **flags)])
        ids[backend.token_to_id(content)] = token["id"]
    return RenamedTokenizer(backend, names, ids)


def _secret_name(token: int) -> str:
    letters = "".join(chr(ord("a") + int(digit, 16)) for digit in f"{token:x}")
    return f"z{SECRET}{letters}z"


def _rename_in_model(model: dict[str, Any], names: Mapping[str, str]) -> None:
    vocabulary = model["vocab"]
    if isinstance(vocabulary, list):  # Unigram: pairs of text and score
        model["vocab"] = [[names.get(text, text), score] for text, score in vocabulary]
    else:
        model["vocab"] = {names.get(text, text): token for text, token in vocabulary.items()}
    if model.get(_UNKNOWN) in names:
        model[_UNKNOWN] = names[model[_UNKNOWN]]
    if "merges" in model:
        pairs = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in model["merges"]]
        model["merges"] = [pair for pair in pairs if not {*pair, "".join(pair)} & names.keys()]
