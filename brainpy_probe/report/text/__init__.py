"""Shows a capture as text, for ``print`` and for the shell command."""
