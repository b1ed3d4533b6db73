"""The shell commands and their output."""
