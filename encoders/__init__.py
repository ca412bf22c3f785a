"""Turns texts and pictures into vectors, inside and outside a model's graph."""
