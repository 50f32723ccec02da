"""What is recorded is read again, in order, and a line that was cut short does no harm."""

from pathlib import Path

from tests.history.history import Asked, Recorder, read


def test_entries_are_read_as_they_were_written(tmp_path: Path) -> None:
    ann, bob = Recorder(tmp_path, "ann", "1"), Recorder(tmp_path, "bob")
    call = ann.next_call()
    ann.write("invoke", "create", call=call, job="a", asked=Asked(attempts=3))
    bob.write("push", "claim", job="a", token="01", fence=1)
    ann.write("ok", "create", call=call, job="a", flag=True)
    invoked, pushed, answered = read(tmp_path)
    assert (invoked.who, pushed.who, answered.who) == ("ann", "bob", "ann")
    assert invoked.at <= pushed.at <= answered.at
    assert invoked.call == answered.call
    assert invoked.asked == Asked(attempts=3)
    assert (pushed.fence, answered.flag) == (1, True)
    ann.close()
    bob.close()


def test_another_life_goes_on_in_the_same_file(tmp_path: Path) -> None:
    calls = set()
    for life in ("1", "2"):
        recorder = Recorder(tmp_path, "ann", life)
        calls.add(recorder.next_call())
        recorder.write("note", "started")
        recorder.close()
    assert len(read(tmp_path)) == len(calls) == 2


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, "ann")
    recorder.write("note", "started")
    recorder.close()
    with (tmp_path / "ann.jsonl").open("ab") as file:
        file.write(b'{"at":12')
    assert [entry.op for entry in read(tmp_path)] == ["started"]
