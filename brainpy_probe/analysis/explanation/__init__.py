"""Explains a program: how each state is updated, as an expression over names.

Start with :mod:`.explain`, which makes the records of :mod:`.records`. :mod:`.reading` reads the
operations of a program as the terms of :mod:`.terms`.
"""
