"""Records the modules that JAX compiles: timing, files, and the reason for each compilation.

Start with :mod:`.compiler_hooks`.
"""
