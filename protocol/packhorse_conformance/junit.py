"""Results as JUnit XML, which most CI systems show."""

from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from packhorse_conformance.report import lines_of
from packhorse_conformance.running import Given, Result


def write(path: Path, suite: str, results: Sequence[Result[Given]]) -> None:
    """Replaces the file."""
    root = ET.Element(
        "testsuite",
        name=f"packhorse-conformance {suite}",
        tests=str(len(results)),
        failures=str(sum(result.verdict == "failed" for result in results)),
        skipped=str(sum(result.verdict == "skipped" for result in results)),
        time=f"{sum(result.took_s for result in results):.3f}",
    )
    for result in results:
        file, _, function = result.scenario.name.partition(".")
        case = ET.SubElement(
            root,
            "testcase",
            classname=f"{suite}.{file}",
            name=function,
            time=f"{result.took_s:.3f}",
        )
        if result.verdict == "failed":
            failure = ET.SubElement(case, "failure", message=_printable(result.expected))
            failure.text = _printable("\n".join(lines_of(result)))
        elif result.verdict == "skipped":
            ET.SubElement(case, "skipped", message=_printable(result.why))
    ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)


def _printable(text: str) -> str:
    """XML has no place for control characters."""
    return "".join(char if char.isprintable() or char == "\n" else "\ufffd" for char in text)
