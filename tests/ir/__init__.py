"""Programs as MLIR and HLO."""
