"""Where a task app can live: the backends, and the protocol they share."""
