"""Settings, records and comparisons, without BrainPy."""
