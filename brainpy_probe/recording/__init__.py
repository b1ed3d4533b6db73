"""Records the runs of the user's process in a capture folder.

Start with :mod:`.api`, the context manager. It opens a session (:mod:`.sessions`) and installs the
wrappers of :mod:`.hooks` around BrainPy and JAX. They record each call (:mod:`.calls`) and pass it
to the session, which makes a closed program of it (:mod:`.program`) and writes it.
"""
