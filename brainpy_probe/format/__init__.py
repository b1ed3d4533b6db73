"""What a capture folder is: its records, its files and arrays, how they are written and read.

Start with :mod:`.records`, the manifest as frozen types. :mod:`.folder` writes a folder,
:mod:`.reading` reads it and compares it with its manifest.
"""
