"""Shows a capture as text, as pictures, or as an HTML page. Start in :mod:`.api`."""
