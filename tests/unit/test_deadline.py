"""A deadline is read on the clock that it was made with."""

from fedstream.deadline import Deadline


def test_time_runs_out_on_the_given_clock():
    now = [100.0]
    deadline = Deadline.after(5, lambda: now[0])
    assert (deadline.left_s, deadline.passed) == (5, False)
    now[0] = 104.5
    assert (deadline.left_s, deadline.passed) == (0.5, False)
    now[0] = 105
    assert deadline.passed
    now[0] = 107
    assert deadline.left_s == -2
