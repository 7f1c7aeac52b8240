"""Text around a thought or a reply that says nothing: invisible characters, an echoed header, and a wrapper."""

import re

# White space, control characters (Cc) and format characters (Cf), such as a byte order mark or a zero-width space.
_INVISIBLE = (
    r"[\s\x00-\x1f\x7f-\x9f\xad\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u180e\u200b-\u200f\u202a-\u202e"
    r"\u2060-\u2064\u2066-\u206f\ufeff\ufff9-\ufffb\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    r"\U0001d173-\U0001d17a\U000e0001\U000e0020-\U000e007f]*+"
)
# The header of an assistant turn. If its control tokens are left out, the name of the role remains.
_HEADER = (
    r"(?:<\|assistant\|>|\[\|assistant\|\]|<\uff5cAssistant\uff5c>|<(?:start_of_turn>|\|turn>)\s*model"
    r"|<\|(?:im_start|begin|start)\|>\s*assistant|<\|start_header_id\|>\s*assistant\s*<\|end_header_id\|>"
    r"|<\|start_of_role\|>\s*assistant\s*<\|end_of_role\|>|assistant)?"
)
_NOTHING = re.compile(_INVISIBLE + _HEADER + _INVISIBLE, re.IGNORECASE)
_WRAPPERS = [
    re.compile(rf"{opening}((?:(?!{opening}|{closing}).)*){closing}", re.IGNORECASE | re.DOTALL)
    for opening, closing in (
        *((rf"<{word}>", rf"</{word}>") for word in ("response", "answer", "output")),
        (r"<\|begin_of_box\|>", r"<\|end_of_box\|>"),
    )
]


def says_nothing(text: str) -> bool:
    """Returns whether a text has only invisible characters and at most one header of an assistant turn.

    Example:
        >>> says_nothing(" \\ufeff"), says_nothing("<|im_start|>assistant\\n"), says_nothing("No.")
        (True, True, False)
    """
    return _NOTHING.fullmatch(text) is not None


def without_wrapper(text: str) -> str:
    """Returns the text inside a pair of marks around the whole text, or the text itself.

    Example:
        >>> without_wrapper("<answer>No.</answer>"), without_wrapper("<answer>Yes.</answer> No.")
        ('No.', '<answer>Yes.</answer> No.')
    """
    found = next((found for wrapper in _WRAPPERS if (found := wrapper.fullmatch(text.strip()))), None)
    return text if found is None else found[1].strip()
