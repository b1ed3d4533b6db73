"""The records of a manifest. Begin with `records`."""
