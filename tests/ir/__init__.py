"""The MLIR and HLO of programs."""
