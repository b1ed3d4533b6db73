"""The records of a manifest. Start with :mod:`.records`."""
