"""Stand-in for CANN: the parts of its collective library's Python package that MindSpore imports."""
