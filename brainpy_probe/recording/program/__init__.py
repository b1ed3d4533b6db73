"""Makes a closed program of a call and writes it in each dialect.

Start with :mod:`.closure`, then :mod:`.lowering`.
"""
