"""What a program costs, how long it runs, what it computes when it is replayed, and findings.

Start with :mod:`.costs` (counted from the text) or :mod:`.replay` (run on the captured arrays).
"""
