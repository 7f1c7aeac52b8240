"""A copy of a tokenizer in which the control tokens have secret names, so that no text can spell them."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from rbr.models.added_tokens import chat_template_source, control_texts

SECRET = "".join(secrets.choice("abcdefghijklmnop") for _ in range(24))
"""Part of every secret name: lowercase letters, which normalizers keep. It differs in each process, and no id depends
on it."""

_UNKNOWN = "unk_token"


@dataclass(frozen=True)
class ControlTokens:
    """The control tokens of a tokenizer.

    Attributes:
        contents: Text of each token by id.
        heads: Proper beginnings of the texts.
        tails: Proper ends of the texts.
        longest: Length of the longest text, in characters.
        first: First characters of the texts, before and after the tokenizer's normalizer.

    Example:
        >>> ControlTokens({1: "<a>"}, heads=frozenset(), tails=frozenset(), longest=3, first=frozenset("<")).longest
        3
    """

    contents: Mapping[int, str]
    heads: frozenset[str]
    tails: frozenset[str]
    longest: int
    first: frozenset[str]


@dataclass(frozen=True)
class RenamedTokenizer:
    """A copy of a fast tokenizer with secret names for its control tokens.

    Attributes:
        backend: The copy, a `tokenizers.Tokenizer`.
        names: Secret name of each control token, by id.
        ids: Id in the original of each added token, by its id in the copy.

    Example:
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> renamed(open_tokenizer(ModelRef(path="rbr_sandbox/models/policy", revision=None))).encode("<|end|>")[:2]
        [32, 96]
    """

    backend: Any
    names: Mapping[int, str]
    ids: Mapping[int, int]

    def encode(self, text: str) -> list[int]:
        """Returns the original's ids of a text in which control tokens have their secret names."""
        return [self.ids.get(token, token) for token in self.backend.encode(text, add_special_tokens=False).ids]


# A tokenizer can get more tokens, or another chat template, after it was read. An entry counts only for the state that
# it was made for.
_State = tuple[int, str]
_CONTROL: WeakKeyDictionary[Any, tuple[_State, ControlTokens]] = WeakKeyDictionary()
_RENAMED: WeakKeyDictionary[Any, tuple[_State, RenamedTokenizer]] = WeakKeyDictionary()


def control_tokens(tokenizer: Any) -> ControlTokens:
    """Returns the control tokens of a tokenizer, as `rbr.models.added_tokens` defines them.

    Example:
        >>> from rbr.models.pretrained import open_tokenizer
        >>> from rbr.profile import ModelRef
        >>> tokenizer = open_tokenizer(ModelRef(path="rbr_sandbox/models/policy", revision=None))
        >>> sorted(control_tokens(tokenizer).contents.values())
        ['<|assistant|>', '<|end|>', '<|pad|>', '<|system|>', '<|user|>']
    """
    state = _state(tokenizer)
    kept = _CONTROL.get(tokenizer)
    if kept is None or kept[0] != state:
        special = {token.content for token in tokenizer.added_tokens_decoder.values() if token.special}
        special |= set(tokenizer.all_special_tokens)
        added = tokenizer.get_added_vocab()
        spelled = control_texts({text: text in special for text in added}, state[1])
        contents = {token: text for text, token in added.items() if text in spelled}
        texts = list(contents.values())
        control = ControlTokens(
            contents,
            heads=frozenset(text[:end] for text in texts for end in range(1, len(text))),
            tails=frozenset(text[start:] for text in texts for start in range(1, len(text))),
            longest=max(map(len, texts), default=0),
            first=frozenset(
                form.strip(" \u2581\n\t")[:1] for text in texts for form in (text.strip(), normalized(tokenizer, text))
            ),
        )
        kept = _CONTROL[tokenizer] = (state, control)
    return kept[1]


def normalized(tokenizer: Any, text: str) -> str:
    """Returns the text after the tokenizer's normalizer, such as NFKC or lowercasing; unchanged if it has none."""
    normalizer = tokenizer.backend_tokenizer.normalizer if tokenizer.is_fast else None
    return text if normalizer is None else normalizer.normalize_str(text)


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
    state = _state(tokenizer)
    kept = _RENAMED.get(tokenizer)
    if kept is None or kept[0] != state:
        kept = _RENAMED[tokenizer] = (state, _renamed(tokenizer))
    return kept[1]


def _state(tokenizer: Any) -> _State:
    return len(tokenizer), chat_template_source(tokenizer.chat_template)


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
        copied = backend.token_to_id(content)
        assert copied is not None
        ids[copied] = token["id"]
    return RenamedTokenizer(backend, names, ids)


def _secret_name(token: int) -> str:
    letters = "".join(chr(ord("a") + int(digit, 16)) for digit in f"{token:x}")
    # No accent that follows a q, or comes before it, changes the letter: a normalizer has no character for both.
    return f"q{SECRET}{letters}q"


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
