"""The stages of a round by what they are for, each with its wiring: reading, learning, judging, publishing."""
