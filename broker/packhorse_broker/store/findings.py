"""What fsck tells."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something that is not as it should be."""

    kind: str
    """An index entry or a hold on a unique key that is `missing`, `stale` or has a `wrong_score`;
    a body, outcome, log or list of attempts that is `orphan` or `lost`; a record that is
    `corrupt`; bytes of a type (instead of a job) that are a `wrong_sum`."""
    job: str
    key: str
    mended: bool = False

    def __str__(self) -> str:
        done = " (mended)" if self.mended else ""
        what = "type" if self.kind == "wrong_sum" else "job"
        return f"{self.kind}: {what} {self.job} in {self.key}{done}"


@dataclass(slots=True)
class Report:
    """What was looked at, and what was found."""

    jobs: int
    index_entries: int
    findings: list[Finding]

    @property
    def clean(self) -> bool:
        return not self.findings

    def together_with(self, other: "Report") -> "Report":
        """Of two partitions."""
        return Report(
            self.jobs + other.jobs,
            self.index_entries + other.index_entries,
            self.findings + other.findings,
        )
