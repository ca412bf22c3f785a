"""Answers TensorFlow Serving's gRPC and REST protocol with SavedModels, on one machine."""
