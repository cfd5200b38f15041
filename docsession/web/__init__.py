"""HTTP and websocket adapters."""
