"""What JAX compiles: each module with its timing, its files, and why it was compiled.

Start with :mod:`.compiler_hooks`.
"""
