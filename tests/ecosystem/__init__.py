"""Models of the packages that build on brainstate."""
