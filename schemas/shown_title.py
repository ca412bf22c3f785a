"""Says what people are shown as the title of a product that may have none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.product import BRAND, CATEGORY, DESCRIPTION, IMAGE, MERCHANT_CATEGORY, TITLE

NO_TITLE = "(no title)"
_INSTEAD = (BRAND, MERCHANT_CATEGORY, CATEGORY, DESCRIPTION, IMAGE)
_MAX_CHARS, _MAX_FIELDS = 60, 2


def shown_title(product: Mapping[str, Any]) -> str:
    """Returns the title, or the first other fields that describe a product without one; never an empty text.

    >>> shown_title({"id": "7", "title": "Runner Pro", "brand": "Acme"})
    'Runner Pro'
    >>> shown_title({"id": "8", "brand": "Acme", "category": "Shoes > Sneakers", "image": "8.jpg"})
    '(no title) Acme, Shoes > Sneakers'
    """
    title = str(product.get(TITLE) or "")
    if title:
        return title
    texts = [text for text in (str(product.get(name) or "") for name in _INSTEAD) if text]
    return " ".join([NO_TITLE, ", ".join(text[:_MAX_CHARS] for text in texts[:_MAX_FIELDS])]).rstrip()
