"""Shows a capture as HTML: the report, and the cells of a notebook. Start in :mod:`.page`."""
