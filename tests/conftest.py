"""Settings of all tests: hypothesis has no deadlines, because a busy machine is no bug, and repeats its examples in CI."""

import os

from hypothesis import settings

# A person's runs look for new examples every time; CI judges a change by the same ones.
settings.register_profile("aisle", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "aisle")
