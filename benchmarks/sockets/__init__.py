"""The real daemon beside what people would pick instead: sockets, fan-out, requests, memory."""
