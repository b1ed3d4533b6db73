"""Verification, replay, and damaged or hostile folders."""
