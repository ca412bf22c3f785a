"""Settings of all tests: hypothesis has no deadlines, because a busy machine is no bug."""

from hypothesis import settings

settings.register_profile("aisle", deadline=None)
settings.load_profile("aisle")
