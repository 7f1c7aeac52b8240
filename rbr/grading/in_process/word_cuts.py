r"""Places at which a text can be cut and its parts encoded apart, without a change of the token ids.

A cut lies before a single space between two Latin letters, as in ``yes| or``. For most tokenizers the ids of a text are
the ids of the text before the cut and the ids of the text after it, whatever else the two texts contain:

- Normalizers change characters, or runs of characters, and neither reaches across the cut.
- Pre-tokenizers cut there anyway, or at other places that do not depend on the other side of the cut.
- No token of the vocabulary has a letter and then a space. So no merge of BPE reaches across the cut, and the merges
  before it do not depend on those after it.
- No added token has a letter and then a space, or ends in a letter and takes the space after it along.

`has_word_cuts` reads the description of a tokenizer and is True only if it knows all of this to hold.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

_CUT = re.compile(r"(?<=[A-Za-z]) (?=[A-Za-z])")
_CROSSES_A_CUT = re.compile(r"[A-Za-z][ ▁Ġ]")
_ADDED_CROSSES_A_CUT = re.compile(r"[^\W▁Ġ][\s▁Ġ]")

_LOCAL_NORMALIZERS = {
    "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Lowercase", "StripAccents", "Strip", "BertNormalizer", "Precompiled",
    "Prepend", "ByteLevel",
}  # fmt: skip
_LOCAL_REPLACEMENTS = ({"String": " "}, {"Regex": " {2,}"}, {"String": "``"}, {"String": "''"})
_CLITICS = "'s|'t|'re|'ve|'m|'ll|'d"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
# Alternatives of the regular expressions of GPT-2, GPT-4, Llama 3, Qwen, DeepSeek, GPT-4o and Falcon. None of them
# matches a letter and then a space, looks back, or looks ahead beyond a run of white space.
_LOCAL_ALTERNATIVES = {
    *_CLITICS.split("|"), f"(?i:{_CLITICS})", "'(?i:[sdmt]|ll|ve|re)",
    r" ?\p{L}+", r"[^\r\n\p{L}\p{N}]?\p{L}+", r"[^\r\n\p{L}\p{N}]?+\p{L}+",
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+(?i:{_CLITICS})?",
    rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*(?i:{_CLITICS})?",
    r" ?\p{N}+", r"\p{N}+", r"\p{N}", r"\p{N}{1,2}", r"\p{N}{1,3}", r"\d", r"[0-9]", "[0-9][0-9][0-9]",
    r" ?[^\s\p{L}\p{N}]+", r" ?[^\s\p{L}\p{N}]+[\r\n]*", r" ?[^\s\p{L}\p{N}]++[\r\n]*", r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
    r"\s*[\r\n]", r"\s*[\r\n]+", r"\s+(?!\S)", r"\s+",
}  # fmt: skip
_SPLITS_AT_SPACES = {"Whitespace", "WhitespaceSplit", "BertPreTokenizer"}


def last_word_cut(text: str) -> int | None:
    """Returns the last place before a single space between two Latin letters; None if there is none.

    Example:
        >>> text = "Answer with yes or no. Question:"
        >>> text[: last_word_cut(text)]
        'Answer with yes or'
    """
    cuts = [match.start() for match in _CUT.finditer(text)]
    return cuts[-1] if cuts else None


def has_word_cuts(description: Mapping[str, Any]) -> bool:
    """Returns whether a text can be cut between two words without a change of its token ids.

    Args:
        description: Content of a ``tokenizer.json``. Special tokens do not count: texts are encoded without them.

    Example:
        >>> import json
        >>> from pathlib import Path
        >>> has_word_cuts(json.loads(Path("rbr_sandbox/models/grader/tokenizer.json").read_text(encoding="utf-8")))
        True
    """
    model = description["model"]
    normalizers = list(_parts(description["normalizer"], "normalizers"))
    splitters = list(_parts(description["pre_tokenizer"], "pretokenizers"))
    spaces_are_replaced = any(part.get("pattern") == {"String": " "} for part in normalizers)
    if not all(map(_is_local_normalizer, normalizers)):
        return False
    if not all(_is_local_splitter(part, spaces_are_replaced) for part in splitters):
        return False
    if any(map(_added_crosses_a_cut, description["added_tokens"])):
        return False
    # WordPiece, WordLevel and Unigram need a piece that ends at the cut. So does a token that differs at an end.
    marks_ends = bool(model.get("end_of_word_suffix") or model.get("continuing_subword_prefix"))
    if model.get("type") != "BPE" or marks_ends:
        return any(_splits_at_spaces(part) for part in splitters)
    return not model.get("dropout") and not any(map(_CROSSES_A_CUT.search, model["vocab"]))


def _added_crosses_a_cut(token: Mapping[str, Any]) -> bool:
    if token["special"]:
        return False
    text = token["content"]
    return bool(_ADDED_CROSSES_A_CUT.search(text)) or (token["rstrip"] and text[-1:].isalnum())


def _parts(part: Mapping[str, Any] | None, key: str) -> Iterator[Mapping[str, Any]]:
    if part is None:
        return
    if part["type"] == "Sequence":
        for inner in part[key]:
            yield from _parts(inner, key)
    else:
        yield part


def _is_local_normalizer(part: Mapping[str, Any]) -> bool:
    if part["type"] == "Replace":
        return part["pattern"] in _LOCAL_REPLACEMENTS
    return part["type"] in _LOCAL_NORMALIZERS


def _is_local_splitter(part: Mapping[str, Any], spaces_are_replaced: bool) -> bool:
    if part["type"] == "Split":
        if part["pattern"] == {"String": " "}:
            return spaces_are_replaced  # Then it never splits.
        alternatives = _alternatives(part["pattern"].get("Regex", "no regular expression"))
        return part["behavior"] in {"Isolated", "Removed"} and alternatives <= _LOCAL_ALTERNATIVES
    return part["type"] in {"ByteLevel", "Metaspace", "Digits", "Punctuation", *_SPLITS_AT_SPACES}


def _splits_at_spaces(part: Mapping[str, Any]) -> bool:
    if part["type"] == "ByteLevel":
        return part.get("use_regex", True)
    if part["type"] == "Metaspace":
        return part.get("split", True)
    if part["type"] == "Split":
        return r"\s+" in _alternatives(part["pattern"].get("Regex", ""))
    return part["type"] in _SPLITS_AT_SPACES


def _alternatives(pattern: str) -> set[str]:
    """Cuts a regular expression at the bars outside brackets."""
    alternatives, depth = [""], 0
    for character in pattern:
        depth += (character in "([") - (character in ")]")
        if character == "|" and depth == 0:
            alternatives.append("")
        else:
            alternatives[-1] += character
    return set(alternatives)
