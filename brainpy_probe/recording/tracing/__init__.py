"""Records the loops, jitted functions and steps that BrainPy traces.

Start with :mod:`.traces`, which defines the records. From BrainPy 2.7 on, :mod:`.state_traces`
fills them; before that, :mod:`.legacy` does. :mod:`.eager` is for runs with ``jit=False``.
"""
