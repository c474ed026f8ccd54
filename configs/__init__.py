"""Experiments: one short file each, which opens with the command that runs it."""
