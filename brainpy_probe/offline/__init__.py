"""The side that reads a capture folder; it never meets BrainPy or JAX."""
