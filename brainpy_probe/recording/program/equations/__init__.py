"""Jaxprs: their equations, and their evaluation within one of the probe's traces."""
