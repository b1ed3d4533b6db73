"""Settings, records and comparisons, without BrainPy and JAX."""
