"""Records the calls and modules of one capture in its folder.

Start with :mod:`.session`. It makes each program by :mod:`.program_log`, which checks it against
the results of the run (:mod:`.consistency`).
"""
