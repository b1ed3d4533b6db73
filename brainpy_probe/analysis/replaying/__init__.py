"""Runs captured programs again, and decides whether they are the programs that ran.

Start with :mod:`.replay`.
"""
