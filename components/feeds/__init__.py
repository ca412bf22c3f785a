"""Reads affiliate networks' feeds: one file per format, one mapping per network, no code per shop."""
