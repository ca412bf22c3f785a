"""Judges a model: TFMA's gate, the wide picture in NumPy, and the pages people read."""
