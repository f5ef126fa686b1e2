"""The recommend pipeline and its steps."""
