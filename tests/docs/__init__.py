"""The examples and figures that the documentation shows."""
