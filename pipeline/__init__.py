"""Wires the stages into runs: settings, create_pipeline, runners and the program aisle."""
