"""The daemon that runs inside each sandbox and serves Daytona's toolbox API on a unix socket.

It imports nothing from the emulator: only this package is visible in a sandbox.
"""
