"""Settings of all tests: their order, and hypothesis without deadlines, because a busy machine is no bug, with the same examples in CI."""

import os
from collections import Counter

import pytest
from hypothesis import settings

# A person's runs look for new examples every time; CI judges a change by the same ones.
settings.register_profile("aisle", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "aisle")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts files with slow tests first: a file runs in one process, and a long one that starts last keeps the other waiting."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])
