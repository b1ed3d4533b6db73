"""Activation of the probe at the start of a process."""
