"""Devices other than one CPU device: several devices, programs for CUDA, ranks."""
