"""What a capture costs: ``python -m benchmarks``.

- *The run* is the call ``runner.run(...)``. Building the network and importing are not part of it.
  The *first* run of a process includes BrainPy's trace and XLA's compilation; *repeated* runs
  follow on the same runner, and BrainPy from 2.4 on traces and compiles each of them again.
- Each process is a fresh one. One *round* starts a process for each way of running: plain, with a
  capture, the old way. The order rotates from round to round.
- A *ratio* to the plain run is taken within a round. The tables show the median of the rounds, with
  the smallest and the largest.
- *Added* seconds are those that the probe spends within a run, by its own clock. Other processes on
  the machine disturb them least. For the old way they are the seconds of the lines that were edited
  into BrainPy.

Each process's figures are appended to a file as soon as they are known. An interrupted benchmark
keeps them, and ``--report FILE`` shows what a file holds.
"""
