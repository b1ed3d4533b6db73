"""Programs as MLIR and HLO: parse, print, rewrite, compare, compile and run them.

Needs only jaxlib. Start with :mod:`.dialects`, which renders a program as text in each dialect and
parses the text back.
"""
