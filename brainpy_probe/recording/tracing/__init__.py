"""Records the loops, jitted functions and steps that BrainPy traces.

Start with :mod:`.traces`, which has the records. :mod:`.state_traces` fills them from BrainPy 2.7
on, :mod:`.legacy` before that, and :mod:`.eager` for a run with ``jit=False``.
"""
