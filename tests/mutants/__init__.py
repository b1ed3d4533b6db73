"""Deliberate faults of the package, each of which must make a test fail: ``nox -s mutants``.

`faults` lists them, `__main__` runs them. They are outside the default test run.
"""
