"""Format of a capture folder: its records, files and arrays, and how they are written and read.

Start with :mod:`.manifest`, which defines the records. :mod:`.folder` writes a capture folder;
:mod:`.reading` reads one and checks it against its manifest.
"""
