"""What Prefect runs: the flow, its seven steps, and what a run leaves behind."""
