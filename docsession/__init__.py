"""A live-session server for Google Drive."""

__version__ = "0.1.0"
