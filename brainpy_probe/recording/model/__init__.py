"""Names of what a model holds: components, Variables, arrays, and the ops of its step.

Start with :mod:`.names`.
"""
