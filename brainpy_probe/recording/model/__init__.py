"""Names a model's components, Variables and arrays, and the ops of its traced step.

Start with :mod:`.names`.
"""
