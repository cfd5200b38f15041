"""What docsession knows of Google."""
