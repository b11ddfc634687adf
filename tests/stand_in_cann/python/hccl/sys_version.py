"""See __init__.py."""

__sys_version__ = "2.10"
