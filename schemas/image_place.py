"""Says whether a picture's address stays where a feed may point: on the web, or inside the catalogue's folder."""

from __future__ import annotations

import re
from pathlib import Path

EXPECTED = "an http(s) address, or a path below the catalogue's folder, without .., \\ or a leading /"
_WEB = re.compile(r"(?:https?:)?//[^/\\]", re.IGNORECASE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")


def is_on_the_web(image: str) -> bool:
    """Returns whether it is an address to fetch, not a path; `//cdn/x.jpg` is one, too.

    >>> is_on_the_web("https://cdn/x.jpg"), is_on_the_web("//cdn/x.jpg"), is_on_the_web("x.jpg")
    (True, True, False)
    """
    return _WEB.match(image) is not None


def leaves_catalogue(image: str) -> bool:
    r"""Returns whether an address or path names anything but the web or a path inside the catalogue's folder.

    >>> [leaves_catalogue(image) for image in ("images/x.jpg", "/etc/passwd", "a/../../x.jpg", "file:///x.jpg", "C:\\x.jpg", "~/x.jpg")]
    [False, True, True, True, True, True]
    """
    if _WEB.match(image):
        return False
    return image[:1] in "/~" or "\\" in image or ".." in image.split("/") or _SCHEME.match(image) is not None


def image_file(folder: Path, image: str) -> Path:
    """Returns the file of a picture that isn't on the web; whoever opens pictures gets the path from here.

    Raises:
        ValueError: it isn't below `folder`, symbolic links followed; says what was expected.
    """
    path = Path(folder, image)
    if is_on_the_web(image) or leaves_catalogue(image) or not path.resolve().is_relative_to(Path(folder).resolve()):
        raise ValueError(EXPECTED)
    return path
