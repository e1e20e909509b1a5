"""Both ends of an upload against each other: by table, and under everything a network does."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sluice.wire.log_flow import (
    WATCHED_SECONDS,
    WINDOW,
    Ack,
    AckStatus,
    Head,
    Offer,
    Send,
    Sender,
    Stop,
    StreamMode,
    Verdict,
    Wait,
    answer,
    judge,
    new_sender,
    next_step,
    on_ack,
    on_disconnect,
    on_sent,
)

HEAD = Head(epoch=3, committed=100, next_line=5)


@pytest.mark.parametrize(
    ("offer", "verdict"),
    [
        (Offer(3, 100, 10), Verdict.APPEND),
        (Offer(3, 100, 0), Verdict.ALREADY_THERE),
        (Offer(3, 0, 0), Verdict.ALREADY_THERE),
        (Offer(3, 50, 50), Verdict.ALREADY_THERE),
        (Offer(3, 90, 20), Verdict.REFUSE),
        (Offer(3, 110, 5), Verdict.REFUSE),
        (Offer(2, 100, 10), Verdict.WRONG_EPOCH),
        (Offer(4, 100, 10), Verdict.WRONG_EPOCH),
        (Offer(3, 100, 10, intact=False), Verdict.CORRUPT),
        (Offer(2, 100, 10, intact=False), Verdict.CORRUPT),
    ],
)
def test_the_receivers_table(offer: Offer, verdict: Verdict) -> None:
    assert judge(HEAD, offer) is verdict


def test_a_closed_log_takes_duplicates_only() -> None:
    closed = replace(HEAD, closed=True)
    assert judge(closed, Offer(3, 50, 50)) is Verdict.ALREADY_THERE
    assert judge(closed, Offer(3, 100, 1)) is Verdict.CLOSED


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (Verdict.APPEND, AckStatus.OK),
        (Verdict.ALREADY_THERE, AckStatus.OK),
        (Verdict.REFUSE, AckStatus.REFUSED),
        (Verdict.WRONG_EPOCH, AckStatus.WRONG_EPOCH),
        (Verdict.CLOSED, AckStatus.CLOSED),
        (Verdict.CORRUPT, AckStatus.CORRUPT),
    ],
)
def test_every_verdict_has_an_answer(verdict: Verdict, status: AckStatus) -> None:
    ack = answer(verdict, HEAD, watched=True, command="cancel")
    assert ack == Ack(status, 100, 5, True, "cancel")


def opened(sender: Sender, committed: int = 0, *, end: int = 10_000) -> Sender:
    return on_ack(sender, Ack(AckStatus.OK, committed, 1), end=end)


def test_nothing_is_sent_before_the_first_answer() -> None:
    sender = new_sender(epoch=1, base=0)
    assert next_step(sender, end=10, now=0.0) == Wait(None)
    assert next_step(opened(sender), end=10, now=0.0) == Send(0, 256 * 1024)


def test_the_first_byte_after_silence_goes_at_once_then_the_rhythm_holds() -> None:
    sender = on_sent(opened(new_sender(epoch=1, base=0)), length=10, now=100.0)
    watched = replace(sender, watched=True)
    early = next_step(watched, end=20, now=100.0)
    assert isinstance(early, Wait)
    assert early.seconds == pytest.approx(WATCHED_SECONDS)
    assert isinstance(next_step(watched, end=20, now=100.021), Send)
    assert isinstance(next_step(sender, end=20, now=100.5), Wait)
    assert isinstance(next_step(sender, end=20, now=101.0), Send)
    assert isinstance(next_step(watched, end=70_000, now=100.0), Send)
    assert isinstance(next_step(sender, end=20, now=100.0, flush=True), Send)


def test_forced_rhythms_do_not_look_at_viewers() -> None:
    base = on_sent(opened(new_sender(epoch=1, base=0)), length=1, now=0.0)
    fast = replace(base, mode=StreamMode.REALTIME)
    slow = replace(base, mode=StreamMode.BATCH, watched=True)
    assert isinstance(next_step(fast, end=5, now=0.03), Send)
    assert isinstance(next_step(slow, end=5, now=0.03), Wait)


def test_the_window_bounds_what_is_on_its_way() -> None:
    sender = opened(new_sender(epoch=1, base=0), end=2 * WINDOW)
    full = on_sent(sender, length=WINDOW, now=0.0)
    assert next_step(full, end=2 * WINDOW, now=9.0) == Wait(None)
    some = on_ack(full, Ack(AckStatus.OK, 100, 2), end=2 * WINDOW)
    assert next_step(some, end=2 * WINDOW, now=9.0) == Send(WINDOW, 100)


@pytest.mark.parametrize(
    ("ack", "reason"),
    [
        (Ack(AckStatus.WRONG_EPOCH, 0, 1), "another lease"),
        (Ack(AckStatus.CLOSED, 0, 1), "closed"),
        (Ack(AckStatus.OK, 40, 1), "had acknowledged 50"),
        (Ack(AckStatus.OK, 2000, 1), "the spool only 1000"),
    ],
)
def test_the_sender_stops_and_says_why(ack: Ack, reason: str) -> None:
    sender = on_ack(opened(new_sender(epoch=1, base=0), 50), ack, end=1000)
    assert reason in sender.stopped
    assert next_step(sender, end=1000, now=0.0) == Stop(sender.stopped)


def test_after_a_refusal_or_a_cut_it_goes_on_where_the_server_stands() -> None:
    sender = on_sent(opened(new_sender(epoch=1, base=0)), length=500, now=0.0)
    refused = on_ack(sender, Ack(AckStatus.REFUSED, 200, 3), end=1000)
    assert (refused.acked, refused.sent) == (200, 200)
    cut = on_disconnect(on_ack(sender, Ack(AckStatus.OK, 100, 2), end=1000))
    assert (cut.acked, cut.sent, cut.open) == (100, 100, False)


# --- both ends ----------------------------------------------------------------


@dataclass
class Receiver:
    """The server's side: what is durable, kept by the rules."""

    head: Head
    stored: bytearray = field(default_factory=bytearray)

    def take(self, epoch: int, offset: int, data: bytes, *, intact: bool) -> Ack:
        verdict = judge(self.head, Offer(epoch, offset, len(data), intact))
        if verdict is Verdict.APPEND:
            self.stored += data
            self.head = Head(epoch, len(self.stored), 1 + self.stored.count(b"\n"))
        return answer(verdict, self.head, watched=True)


@dataclass
class Conversation:
    """Both ends and a line that loses, repeats, reorders, damages and breaks as told."""

    data: bytes
    piece: int
    receiver: Receiver
    sender: Sender
    up: list[tuple[int, int, bytes]] = field(default_factory=list)
    down: list[Ack] = field(default_factory=list)
    now: float = 0.0

    def send(self) -> None:
        """What the sender may put on the line now."""
        self.now += 0.05
        if not self.sender.open and not self.up:
            self.up.append((1, self.sender.acked, b""))
        step = next_step(self.sender, end=len(self.data), now=self.now, flush=True)
        assert not isinstance(step, Stop), step.reason
        if isinstance(step, Send):
            end = step.offset + min(step.limit, self.piece)
            message = self.data[step.offset : end]
            self.up.append((1, step.offset, message))
            self.sender = on_sent(self.sender, length=len(message), now=self.now)

    def carry(self, fault: str) -> None:
        """One message's way, or the line's end."""
        if fault == "cut":
            self.up.clear()
            self.down.clear()
            self.sender = on_disconnect(self.sender)
        elif self.up:
            self._carry_one(fault)
        if fault in {"lose", "lose ack"}:
            # what a connection has lost it learns only by breaking
            self.carry("cut")

    def _carry_one(self, fault: str) -> None:
        if fault == "reorder" and len(self.up) > 1:
            self.up[0], self.up[1] = self.up[1], self.up[0]
        message = self.up[0] if fault == "repeat" else self.up.pop(0)
        if fault != "lose":
            ack = self.receiver.take(*message, intact=fault != "damage")
            if fault != "lose ack":
                self.down.append(ack)

    def hear(self) -> None:
        """The answers that came."""
        while self.down:
            ack = self.down.pop(0)
            self.sender = on_ack(self.sender, ack, end=len(self.data))

    def check(self) -> None:
        """Nothing wrong is stored, and nothing is believed that is not."""
        stored = bytes(self.receiver.stored)
        assert stored == self.data[: len(stored)]
        assert self.sender.acked <= len(stored)


FAULTS = (
    "deliver",
    "deliver",
    "lose",
    "repeat",
    "reorder",
    "damage",
    "lose ack",
    "cut",
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(FAULTS), max_size=60),
    st.binary(min_size=1, max_size=400),
    st.integers(1, 60),
)
def test_every_byte_arrives_once_and_in_order(
    story: list[str], data: bytes, piece: int
) -> None:
    receiver = Receiver(Head(epoch=1, committed=0, next_line=1))
    talk = Conversation(data, piece, receiver, new_sender(epoch=1, base=0))
    for fault in [*story, "cut", *["deliver"] * (4 * len(data) + 20)]:
        talk.send()
        talk.carry(fault)
        talk.hear()
        talk.check()
    assert bytes(receiver.stored) == data
    assert talk.sender.acked == len(data)


def test_a_full_log_is_gone_on_with_from_where_it_stands() -> None:
    sent = on_sent(opened(new_sender(epoch=1, base=0)), length=900, now=0.0)
    full = on_ack(sent, Ack(AckStatus.FULL, 500, 9, limit=600), end=700)
    assert (full.acked, full.sent, full.stopped) == (500, 500, "")
    assert next_step(full, end=700, now=9.0) == Send(500, 256 * 1024)
