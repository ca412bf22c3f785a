"""The model families, by name. Adding one is one file here and its line in the registry."""
