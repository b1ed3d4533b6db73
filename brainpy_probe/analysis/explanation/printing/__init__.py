"""Prints terms and explanations: as plain text, and as LaTeX.

Start with :mod:`.page`. :mod:`.text` prints one expression.
"""
