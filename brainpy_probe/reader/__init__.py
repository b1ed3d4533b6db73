"""What a user holds: a capture, its programs, modules and calls, live or read from a folder.

Start with :mod:`.capture`. What parses or runs a program runs in a worker process
(:mod:`.worker`), which has a limit of time and memory.
"""
