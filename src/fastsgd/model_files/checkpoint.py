"""Checkpoints of a fit: when one is due, and the files in their folder."""
