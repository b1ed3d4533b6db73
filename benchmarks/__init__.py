"""Benchmarks of the overhead of a capture: ``python -m benchmarks``.

- *The run* is the call ``runner.run(...)``, without imports and construction of the network. The
  *first* run of a process includes BrainPy's trace and XLA's compilation. *Repeated* runs follow on
  the same runner; BrainPy from 2.4 on traces and compiles each of them again.
- Each measurement has its own process. A *round* starts a process for each way of running: plain,
  with a capture, the old way. The order rotates from round to round.
- *Ratios* to the plain run are computed within a round. The tables show the median of the rounds,
  with the smallest and the largest.
- *Added* seconds are those that the probe spends within a run, by its own clock. Other processes on
  the machine affect them least. For the old way, they are the seconds of the lines that were edited
  into BrainPy.

The figures of each process are appended to a file at once: an interrupted benchmark keeps them.
``--report`` shows the file.
"""
