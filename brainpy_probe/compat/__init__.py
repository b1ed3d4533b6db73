"""Version facts: every private name of BrainPy, brainstate, JAX and jaxlib that the package uses.

Start with :mod:`.lookup`, which looks a name up in each place where any version has it. Each other
module covers one library or a part of it, and lists the versions in which each name was seen.
:mod:`.versions` lists the tested combinations of versions.
"""
