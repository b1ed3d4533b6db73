"""The objects that a user works with: a capture, its programs, modules and calls.

Start with :mod:`.capture`; :mod:`.program`, :mod:`.module` and :mod:`.call` are its parts. Content
of a capture is parsed and run in a worker process (:mod:`.worker`) with limits of time and memory.
"""
