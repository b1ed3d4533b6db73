"""Private names of BrainPy, brainstate, JAX and jaxlib, and how they differ between versions.

Start with :mod:`.lookup`, which finds a private name wherever the installed version has it. Each
other module covers one library or a part of it, and lists the versions in which each name was seen.
:mod:`.versions` lists the tested combinations of versions.
"""
