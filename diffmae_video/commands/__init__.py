"""The commands of `diffmae`: each parses flags and calls one function of the package."""
