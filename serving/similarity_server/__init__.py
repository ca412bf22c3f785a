"""Answers which products are similar, over gRPC and REST, from a live index; no TensorFlow."""
