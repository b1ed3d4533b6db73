"""What looking costs: ``python -m benchmarks``.

Every figure of the README comes from here. What is measured, and in what terms:

- *The run* is the call ``runner.run(...)``. Building the network, importing, opening and closing
  the capture are no part of it; importing is a figure of its own. The *first* run of a process
  includes BrainPy's trace, lowering and XLA's compilation of it; a *repeated* one is one of those
  that follow on the same runner, which BrainPy from 2.4 on traces and compiles again.
- Each process is a fresh one, with the same imports before its first run. One *round* starts each
  way of running once: plain, with the probe, the old way, with the dumps of JAX and of XLA. The
  order turns with each round; a small case is run first and thrown away, for the disk's caches.
- A *ratio* to the plain run is taken within a round; printed are the rounds' median, the least and
  the greatest. The bars divide the least seconds of an EINet's rounds, which a shared machine
  disturbs least. The old way wrote HLO, and is held against the program in StableHLO, without
  arrays; HLO, and the arrays, are printed beside it.
- *Added* are the seconds in which the probe works within a run, on its own clock, which a noisy
  machine disturbs least; for the old way, those of the lines that were edited into BrainPy. What
  this clock can't see, the wrappers around what passes by, is in the ratios of whole runs, and in
  the 1,000 calls, whose seconds are those of the whole block.
"""
