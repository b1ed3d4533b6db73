"""Evaluates the expressions of an explanation with NumPy, and compares them with the program.

Start with :mod:`.proof`.
"""
