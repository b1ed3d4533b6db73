"""The report, its pictures, and the display of objects in notebooks."""
