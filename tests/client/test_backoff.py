from packhorse import backoff


def test_waits_grow_and_stay_in_their_bounds() -> None:
    for tries in range(40):
        longest = min(backoff.LONGEST_WAIT_S, backoff.FIRST_WAIT_S * 2**tries)
        assert longest / 2 <= backoff.wait_s(tries) <= longest


def test_waits_differ_between_clients() -> None:
    assert len({backoff.wait_s(20) for _ in range(20)}) > 1
