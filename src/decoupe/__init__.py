"""decoupe: segment images without pixel labels."""

__version__ = "0.1.0"
