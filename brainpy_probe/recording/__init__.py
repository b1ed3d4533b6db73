"""Fills a capture folder from within the user's process.

Start with :mod:`.api`, the context manager. It opens a :mod:`.session` and puts the wrappers of
:mod:`.hooks` around BrainPy and JAX. They note each call (:mod:`.calls`) and hand it to the
session, which makes a closed program of it (:mod:`.program`) and writes it.
"""
