"""What a run leaves on disk, and that each has a place of its own."""

from flows.run_folder import short_id


def test_runs_that_prefect_schedules_at_once_have_names_of_their_own() -> None:
    """Their ids begin with the time: what follows is random, at its end at least."""
    ids = ("019ab0c4-5d6e-7f00-8000-1c2d3e4f5061", "019ab0c4-5d6e-7f00-8000-1c2d3e4f5062")
    assert len({short_id(each) for each in ids}) == 2
