"""What the daemon is measured beside: small servers, each of which does no more than it must.

Each listens on the port it is given: ``/sub/NAME`` hears what is sent on ``/pub/NAME``, and on ``/ask``
a message comes back as it is. Some have ``/call`` too, a JSON-RPC call answered from a dictionary with the
standard library's json (the floor has only that). Compression, pings and access logs are off.
"""
