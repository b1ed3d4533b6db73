"""Verifies a capture folder: its files, its texts, and the results of its programs.

Start with :mod:`.api`.
"""
