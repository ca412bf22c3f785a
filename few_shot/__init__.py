"""Learns the exclusive head from node names, rules and few answers; NumPy and SciPy alone, so that both environments run it."""
