"""Deliberate faults of the package; each must make a test fail: ``nox -s mutants``.

`faults` lists them, `__main__` runs them. They are outside the default test run.
"""
