from sluice.auth.denials import OF_ONE_CALLER, REMEMBERED, Denials


def test_the_same_refusal_is_kept_once_a_minute_with_a_count() -> None:
    denials = Denials()
    assert denials.admit("u", "a.b", "s", now=0) == 0
    for second in range(1, 10):
        assert denials.admit("u", "a.b", "s", now=second) is None
    assert denials.admit("u", "a.c", "s", now=9) == 0
    assert denials.admit("u", "a.b", "t", now=9) == 0
    assert denials.admit("v", "a.b", "s", now=9) == 0
    assert denials.admit("u", "a.b", "s", now=60) == 9
    assert denials.admit("u", "a.b", "s", now=120) == 0


def test_what_one_caller_is_refused_is_bounded() -> None:
    denials = Denials()
    kept = [denials.admit("u", "a.b", f"s{n}", now=1) for n in range(500)]
    assert kept.count(0) == OF_ONE_CALLER
    assert denials.admit("v", "a.b", "s0", now=1) == 0
    assert denials.admit("u", "a.b", "new", now=61) == 500 - OF_ONE_CALLER


def test_only_so_much_is_remembered() -> None:
    denials = Denials()
    for number in range(REMEMBERED + 100):
        assert denials.admit(f"u{number}", "a.b", "s", now=0) == 0
    assert denials.admit(f"u{REMEMBERED + 99}", "a.b", "s", now=1) is None
    assert denials.admit("u0", "a.b", "s", now=1) == 0
