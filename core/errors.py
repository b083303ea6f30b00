"""The errors that the orchestrator raises on purpose, each with a message that says what to do next."""


class EngineBenchError(Exception):
    """Base of all errors raised on purpose; anything else is a bug."""


class ConfigurationError(EngineBenchError):
    """The user asked for something that can't be: a wrong parameter, a missing tool, a refused key.

    Never retried: the same call would fail the same way.
    """


class InfrastructureError(EngineBenchError):
    """Something that should work did not: a sandbox died, a peer did not answer, a disk was full.

    Retried by the step it happened in. A rollout that ends this way has no reward.
    """
