"""Makes a closed program of a call, lowers it, and writes it in each dialect.

Start with :mod:`.closure`, then :mod:`.lowering` and :mod:`.writing`.
"""
