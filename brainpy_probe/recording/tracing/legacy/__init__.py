"""Tracing up to BrainPy 2.6, where BrainPy itself keeps the Variables.

Start with :mod:`.hooks`, which has the patches.
"""
