"""Runs programs: devices, executables, the kernels that they call, and profiles."""
