"""The tests of brainpy-probe: real networks, real XLA, real files."""
