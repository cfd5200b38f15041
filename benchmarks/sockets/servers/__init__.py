"""What the daemon is measured beside: small servers, each of which does no more than it must.

Each listens on the port it is given and serves three paths: ``/sub/NAME`` hears what is sent on
``/pub/NAME``, and ``/ask`` is answered. Compression, pings and access logs are off.
"""
