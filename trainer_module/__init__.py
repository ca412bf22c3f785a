"""Features in, two heads and one embedding out."""
