"""A program's texts, read with jaxlib alone: its names, its modules, the proof of a text."""
