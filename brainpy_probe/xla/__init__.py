"""jaxlib without JAX: programs read, proved, compiled and run; the only home of its names."""
