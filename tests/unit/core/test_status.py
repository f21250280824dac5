from __future__ import annotations

from insula.status import SUCCESSORS, Status


def test_a_status_is_terminal_if_and_only_if_it_has_no_successor() -> None:
    assert {status for status in Status if status.ended} == {Status.COMPLETED, Status.FAILED, Status.CANCELLED}
    assert all(not SUCCESSORS[status] for status in Status if status.ended)


def test_only_a_running_workload_can_complete_or_return_to_the_queue() -> None:
    assert [status for status in Status if Status.COMPLETED in SUCCESSORS[status]] == [Status.IN_PROGRESS]
    assert [status for status in Status if Status.IN_QUEUE in SUCCESSORS[status]] == [Status.IN_PROGRESS]
