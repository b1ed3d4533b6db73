"""Devices other than a single CPU device: several devices, programs for CUDA, ranks."""
