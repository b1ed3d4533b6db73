"""Starts the probe in a process that does not call it: environment variable, launcher, doctor.

Start with :mod:`.autostart`.
"""
