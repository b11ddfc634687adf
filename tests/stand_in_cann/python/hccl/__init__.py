"""Stand-in for CANN: of the Python package of its collective library what MindSpore imports."""
