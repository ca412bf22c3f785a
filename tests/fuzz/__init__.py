"""Feeds rubbish to everything that reads what users hand in. `python -m tests.fuzz` measures it."""
