"""Inserts entries into the text of a YAML file. Every other character of the text stays as it is."""

from collections.abc import Sequence

import yaml

from rbr.errors import KeyPath


class YamlText:
    """The text of a YAML file, and the entries to insert into it.

    Args:
        text: Plain YAML, as `read_yaml` accepts it. The document is a mapping.

    Example:
        >>> document = YamlText("classes: [ideal]  # best first\\nderived:\\n  safe: not harm  # always\\n")
        >>> document.insert(("classes",), ["- bad"], flow="bad")
        >>> document.insert(("derived",), ["rude: insult or threat"], flow="rude: insult or threat")
        >>> print(document.with_insertions())
        classes: [ideal, bad]  # best first
        derived:
          safe: not harm  # always
          rude: insult or threat
        <BLANKLINE>
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._root = yaml.compose(text, Loader=yaml.SafeLoader)
        self._insertions: list[tuple[int, str]] = []

    def insert(self, path: KeyPath, lines: Sequence[str], *, flow: str) -> None:
        """Inserts one entry at the end of a mapping or list.

        Args:
            path: Keys and indices of the mapping or list; empty for the whole document.
            lines: Lines of the entry if the collection has one entry per line, without the indent of the collection.
                An item of a list begins with ``- ``.
            flow: The entry if the collection is written in brackets.

        Raises:
            KeyError: The document has no mapping or list at this path.

        Note:
            If the collection ends with a text that keeps the blank lines after it (``|+``), the text loses them.
        """
        node = self._collection(path)
        if node.flow_style:
            empty = not node.value
            offset = node.start_mark.index + 1 if empty else _last_node(node, depth=1).end_mark.index
            self._insertions.append((offset, flow if empty else f", {flow}"))
            return
        offset = self._end_of_line(_last_node(node).end_mark.index)
        indent = " " * node.start_mark.column
        newline = "\r\n" if "\r\n" in self._text else "\n"
        self._insertions.append((offset, "".join(f"{newline}{indent}{line}".rstrip(" ") for line in lines)))

    def with_insertions(self) -> str:
        """Returns the text with all entries. Entries at the same place are in the order of the calls."""
        text, done = "", 0
        for offset, inserted in sorted(self._insertions, key=lambda insertion: insertion[0]):
            text += self._text[done:offset] + inserted
            done = offset
        return text + self._text[done:]

    def _collection(self, path: KeyPath) -> yaml.CollectionNode:
        node = self._root
        for key in path:
            if isinstance(node, yaml.MappingNode):
                node = next((value for name, value in node.value if name.value == key), None)
            elif isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
                node = node.value[key]
            else:
                node = None
        if not isinstance(node, yaml.CollectionNode):
            raise KeyError(path)
        return node

    def _end_of_line(self, index: int) -> int:
        """Returns the end of the line of the last visible character before `index`; a comment is part of the line."""
        # The end of a block of text is after its line break, and after blank lines that follow.
        visible = len(self._text[:index].rstrip())
        end = self._text.find("\n", visible)
        if end == -1:
            return len(self._text)
        return end - 1 if self._text[end - 1] == "\r" else end


def _last_node(node: yaml.Node, depth: int | None = None) -> yaml.Node:
    """Returns the last node below a collection, down to `depth` levels; None for no limit.

    The end of a collection of lines is where the next entry begins, so only the end of its last node is useful.
    """
    while isinstance(node, yaml.CollectionNode) and node.value and depth != 0:
        if depth is None and node.flow_style:
            break
        node = node.value[-1][1] if isinstance(node, yaml.MappingNode) else node.value[-1]
        depth = None if depth is None else depth - 1
    return node
