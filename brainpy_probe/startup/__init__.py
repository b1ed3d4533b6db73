"""Starts the probe in a process that does not call it: by a variable or the launcher.

Start with :mod:`.autostart`.
"""
