"""Servers that answer with what a run pushed."""
