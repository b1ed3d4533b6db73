"""Records the calls and modules of one capture in its folder.

Start with :mod:`.session`. It makes each program with :mod:`.program_log`, and checks the program
against the results of the run with :mod:`.consistency`.
"""
