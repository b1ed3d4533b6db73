"""The side that runs inside the user's process; meets the offline side at the capture folder."""
