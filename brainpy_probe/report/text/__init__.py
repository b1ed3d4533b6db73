"""Shows a capture as text, for ``print`` and the shell."""
