"""The vocabulary every other package shares: plain Python, no NumPy and no TensorFlow."""
