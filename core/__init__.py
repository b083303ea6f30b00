"""What every room of the orchestrator shares: its errors, its settings, its secrets. Imports no other room."""
