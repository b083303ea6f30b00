"""How an eval job is run: the client, the embedded eval service, the results store, the statistics."""
