"""Programs as MLIR and HLO: parsed, printed, rewritten, compared, compiled and run.

Needs jaxlib, and neither JAX nor BrainPy. Start with :mod:`.dialects`, which renders a program as
text in each dialect and parses the text back.
"""
