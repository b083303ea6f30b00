"""Why a rollout can't be scored, told apart from why it scores 0."""


class TaskAppError(Exception):
    """Base of all errors that the task app raises on purpose."""


class InfrastructureFailure(TaskAppError):
    """The rollout could not be scored: a binary is missing, the disk is full, the provider refused the key.

    It has no reward and is worth a retry; the agent is not to blame.
    """


class InvalidRequest(TaskAppError):
    """The request names something that is not there; the message says what is allowed."""
