"""Shows a capture to a person: as text, as pictures, as a page. Start in :mod:`.api`."""
