from __future__ import annotations

from alphapulse.log import Closed, LogBusy
from alphapulse.registry.tickets import ThreadTicket, finish


def test_a_thread_sleeps_until_it_is_woken() -> None:
    ticket = ThreadTicket((), 10)
    assert not ticket.sleep(0)
    ticket.appoint()
    assert ticket.sleep(0)
    assert not ticket.sleep(0), "it leads now, and is not done"
    finish([ticket], Closed("test"))
    assert ticket.sleep(10) and ticket.sleep(10), "what is done sleeps no more"


def test_a_ticket_that_is_appointed_as_its_time_ends_can_still_be_finished() -> None:
    ticket = ThreadTicket((), 0)
    ticket.appoint()
    finish([ticket], LogBusy("test"))
    assert ticket.sleep(10)
    assert ticket.left_s == 0
