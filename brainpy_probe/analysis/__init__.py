"""Analyses of a captured program: its costs, run time, replay and explanation; and findings.

Start with :mod:`.costs` (counted from the text), :mod:`.replaying` (run on the captured arrays) or
:mod:`.findings`.
"""
