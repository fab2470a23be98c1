"""Keep the same people equal in every system that knows them."""

__version__ = "0.1.0"
