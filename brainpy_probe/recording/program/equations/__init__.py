"""Jaxprs: their equations, and their evaluation in a trace of the probe's."""
