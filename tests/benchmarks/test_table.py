"""`make bench` runs, in small; it judges no figure."""

from click.testing import CliRunner

from benchmarks.__main__ import main

SMALL = (
    *("--jobs", "500", "--rounds", "1", "--lines", "200", "--connections", "20"),
    *("--trips", "3", "--waiting", "2000"),
)


def test_one_table_has_a_line_for_all_that_is_measured() -> None:
    result = CliRunner().invoke(main, SMALL, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    for name in (
        "lifecycles, batches of 100",
        "log lines of one runner",
        "round trip of 10 busy clients",
        "the same beside 20 idle connections",
        "broker's memory for each idle connection",
        "lifecycles, 2,000 jobs waiting",
        "2,000 over 200 waiting",
        "broker's memory for each job that waits",
    ):
        assert name in result.output


def test_parts_can_be_named() -> None:
    result = CliRunner().invoke(main, (*SMALL, "logs"), catch_exceptions=False)
    assert result.exit_code == 0
    assert "log lines" in result.output
    assert "lifecycles" not in result.output
