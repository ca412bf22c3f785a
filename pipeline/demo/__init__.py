"""Generates the demo catalogue: noisy feeds, a tree, rules, pictures and the known truth, all invented, all from a seed.

`catalogue.py` is the way in, `readme.py` says how hard it is in figures, `labeller.py` answers batches from the truth.
"""
