"""How a process comes to have the probe: the environment variable, the launcher, the doctor.

Start with :mod:`.autostart`.
"""
