"""Facts about versions: every private name of BrainPy, brainstate, JAX and jaxlib that is used.

Start with :mod:`.lookup`, which finds a name in the places where any version has it. Each other
module covers one library or one part of it, and gives for each name the versions in which it was
seen. :mod:`.versions` lists the stacks that the tests run on.
"""
