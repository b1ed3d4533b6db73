"""The examples and figures of the documentation."""
