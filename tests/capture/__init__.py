"""The records of a capture, and that a capture does not change a run."""
