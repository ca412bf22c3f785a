"""Refuses YAML that unfolds to more than a person can mean, before anything is made of it."""

from __future__ import annotations

import yaml

from schemas.errors import AisleError

MAX_VALUES = 100_000
# Long enough for any text, and short enough for Python to show any number of so many digits.
MAX_TEXT = 3_000


def check_yaml(root: yaml.Node, place: str, error: type[AisleError]) -> None:
    """Checks every value below a composed node.

    Args:
        root: what `yaml.compose` gave.
        place: the file or override, for the error.
        error: what is raised.

    Raises:
        AisleError: the one asked for: aliases unfold to over `MAX_VALUES` values, or a text has over `MAX_TEXT` characters or half
            a surrogate pair.
    """
    sizes: dict[int, int] = {}
    # A node is counted when its children are, so the walk visits it twice; an alias of a node above itself counts as one.
    waiting = [(root, False)]
    while waiting:
        node, counted = waiting.pop()
        children = _children(node)
        line = node.start_mark.line + 1
        if counted:
            sizes[id(node)] = 1 + sum(sizes.get(id(child), 1) for child in children)
            if sizes[id(node)] > MAX_VALUES:
                raise error(f"{place}:{line}: the aliases here unfold to over {MAX_VALUES:,} values. Write out what is meant.")
        elif id(node) not in sizes:
            sizes[id(node)] = 1
            if isinstance(node, yaml.ScalarNode):
                _check_text(node.value, f"{place}:{line}", error)
            waiting.append((node, True))
            waiting.extend((child, False) for child in children)


def _check_text(text: str, place: str, error: type[AisleError]) -> None:
    if len(text) > MAX_TEXT:
        raise error(f"{place}: a value has {len(text):,} characters, at most {MAX_TEXT:,} are read. Shorten it.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise error(
            f"{place}: {text[:60]!r} holds half a character (a lone \\ud8.. escape). Write the character itself, in UTF-8."
        ) from None


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [child for pair in node.value for child in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []
