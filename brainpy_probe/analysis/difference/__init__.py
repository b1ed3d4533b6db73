"""Compares two programs: finds the changes, and the level of each.

Start with :mod:`.compare`, which makes the records of :mod:`.records`.
"""
