"""Proofs, replay, and damaged or hostile folders."""
