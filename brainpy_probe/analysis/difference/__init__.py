"""Compares two programs: what changed, and at which level.

Start with :mod:`.compare`, which makes the records of :mod:`.records`.
"""
