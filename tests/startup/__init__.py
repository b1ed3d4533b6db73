"""How a process comes to have the probe."""
