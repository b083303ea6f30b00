"""Everything that puts the flow into service: registration, worker, automations, compose and Kubernetes files."""
