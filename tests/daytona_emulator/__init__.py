"""A stand-in for Daytona's API that the real SDK can't tell apart: see README.md beside this file."""

from .client import Emulator, emulator

__all__ = ["Emulator", "emulator"]
