"""Makes one line for people of what TensorFlow says when a graph fails."""

from __future__ import annotations

import re

from schemas.errors import one_line

_MAX_MESSAGE, _MAX_NODE = 1_000, 200
# Several parts of a graph fail: "2 root error(s) found.\n  (0) INVALID_ARGUMENT: ...\n  (1) ...". The first says what the others say.
_SEVERAL = re.compile(r"\d+ root error\(s\) found\.\s*\(0\) [A-Z_]+: (.*?)(?:\n\s*\(1\) .*|$)", re.DOTALL)
_NODE = re.compile(r"\s*\[\[(?:\{\{function_node [^}]*\}\})?\{\{node ([^}]*)\}\}.*", re.DOTALL)
# Where in TensorFlow's own source it happened, as in "./tensorflow/core/kernels/cast_op.cc:75]".
_SOURCE = re.compile(r"[\w./+-]*\.(?:cc|cpp|cu|h|hpp|inc)(?:\.cc)?:\d+\]?:? ?")
_SPACE = re.compile(r"\s+")


def message_of(raw: bytes) -> str:
    r"""Returns the error of a graph in one line of 1,000 characters at most, and the operation that failed.

    >>> message_of(b"1 root error(s) found.\n  (0) INVALID_ARGUMENT: no \xff\n\t [[{{node parse/Number}}]]\nHint: more")
    'no \\xff (at parse/Number)'
    >>> message_of(b"./tensorflow/core/lib/io.cc:12] cut short"), message_of(b"")
    ('cut short', 'no message')
    """
    text = raw.decode("utf-8", "backslashreplace").strip()
    several = _SEVERAL.fullmatch(text)
    text = several[1] if several else text
    node = _NODE.search(text)
    text = text[: node.start()] if node else text.partition("\nHint: ")[0]
    text = _SPACE.sub(" ", _SOURCE.sub("", text)).strip()
    place = f" (at {one_line(node[1], _MAX_NODE)})" if node else ""
    return f"{one_line(text, _MAX_MESSAGE) or 'no message'}{place}"
