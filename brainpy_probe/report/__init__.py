"""Presents a capture to a person: pictures of XLA's graphs."""
