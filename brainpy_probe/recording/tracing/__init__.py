"""What BrainPy traces: loops, jits and steps, noted while they are traced.

Start with :mod:`.traces`, the records. :mod:`.state_traces` fills them from BrainPy 2.7 on,
:mod:`.variable_traces` before that, and :mod:`.eager` for a run with ``jit=False``.
"""
