"""Spoils texts the way feeds do: entities, tags, capitals, cut ends, double spaces."""

from __future__ import annotations

import html

import numpy as np

_TAGS = ("<b>{}</b>", "<p>{}</p>", "{}<br/>", "<ul><li>{}</li></ul>", '<span class="t">{}</span>')
_STRAY = ("&nbsp;", "&reg;", "&trade;", "&#8211;", "&hellip;", "&copy ", "&#xfffd;")


def with_entities(text: str, rng: np.random.Generator) -> str:
    """Returns the text with `&`, quotes and letters beyond ASCII as HTML entities, and sometimes a stray one."""
    escaped = html.escape(text).encode("ascii", "xmlcharrefreplace").decode("ascii")
    return f"{escaped} {rng.choice(_STRAY)}" if rng.random() < 0.5 else escaped


def with_tags(text: str, rng: np.random.Generator) -> str:
    """Returns the text wrapped in HTML tags."""
    return str(rng.choice(_TAGS)).format(text)


def with_loose_spaces(text: str, rng: np.random.Generator) -> str:
    """Returns the text with spaces doubled, and some around it."""
    return f" {text.replace(' ', '  ' if rng.random() < 0.5 else ' ')} "


def cut(text: str, num_chars: int) -> str:
    """Returns at most `num_chars` letters, as shops cut titles: anywhere, with dots; all of it where that is 0."""
    return text if not num_chars or len(text) <= num_chars else text[: num_chars - 3].rstrip() + "..."
