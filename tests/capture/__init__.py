"""What a capture records of a run, and that the run stays as it is."""
