"""Draws pictures of a model, and XLA's dot files. Start in :mod:`.model`."""
