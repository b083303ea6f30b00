"""A task app that does nothing but be there, on the standard library alone: what the conformance suite starts.

It keeps the real task app's contract with a backend (`--host`, `--port`, `--fd`, `--env-file`, `/health`), and
misbehaves on request.
"""
