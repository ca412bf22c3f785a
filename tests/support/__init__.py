"""Helpers that tests of several packages use."""
