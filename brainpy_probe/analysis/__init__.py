"""What a program costs, how long it runs, its replay, and findings about a capture.

Start with :mod:`.costs` (counted from the text), :mod:`.replaying` (run on the captured arrays) or
:mod:`.findings`.
"""
