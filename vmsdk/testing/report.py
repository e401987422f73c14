"""The results of a run of checks, as text, JUnit XML or JSON."""

from __future__ import annotations

import json
import re
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from vmsdk._version import __version__
from vmsdk.testing.contract import Severity
from vmsdk.testing.run import Result, Verdict

_EFFECTS = {
    Severity.STOPS: "a node stops the chain or the plugin",
    Severity.MISBEHAVES: "the chain misbehaves",
    Severity.BETTER_NOT: "better avoided",
}
_WIDTH = 100
_LABEL = 9
# Colours, which Go VMs write, and other control characters that a terminal would interpret.
_CONTROL = re.compile("\x1b\\[[0-9;]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
# XML 1.0 allows no other control characters.
_NOT_IN_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Report:
    """The results of one run over the plugin that the user calls *target*."""

    target: str
    protocol: int
    results: Sequence[Result]
    seconds: float

    @property
    def exit_status(self) -> int:
        """0: nothing found; 1: violations; 2: the hook failed; 3: vmsdk failed."""
        verdicts = {result.verdict for result in self.results}
        if Verdict.ERROR in verdicts:
            return 3
        if Verdict.VIOLATED in verdicts:
            return 1
        return 2 if Verdict.HOOK in verdicts else 0

    def of(self, verdict: Verdict) -> list[Result]:
        """Return the results with this verdict."""
        return [result for result in self.results if result.verdict is verdict]

    # Text -----------------------------------------------------------------------------------------

    def text(self) -> str:
        """Return everything that was found, with a summary as the last line."""
        parts = [*self._violations(), *self._troubles(Verdict.HOOK, "the hook's fault, not the plugin's")]
        parts += self._troubles(Verdict.ERROR, "vmsdk's fault, not the plugin's: please report it")
        skipped = Counter(result.why for result in self.of(Verdict.SKIPPED))
        if skipped:
            parts.append("\n".join(f"skipped {count}: {why}" for why, count in skipped.items()))
        parts.append(self.summary())
        return "\n\n".join(parts)

    def summary(self) -> str:
        """Return the number of checks with each verdict, and the time taken, in one line."""
        counts = Counter(result.verdict for result in self.results)
        numbers = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict])
        return f"{numbers or 'no checks'} in {self.seconds:.0f} s"

    def _violations(self) -> list[str]:
        """Describe each violation, once if several checks found the same one."""
        groups: dict[tuple[str, str], list[Result]] = {}
        for result in self.of(Verdict.VIOLATED):
            assert result.violation is not None
            groups.setdefault((result.violation.message, result.violation.got), []).append(result)
        return [_violation(first, others) for first, *others in groups.values()]

    def _troubles(self, verdict: Verdict, fault: str) -> list[str]:
        groups: dict[str, list[Result]] = {}
        for result in self.of(verdict):
            groups.setdefault(result.why, []).append(result)
        return [
            "\n".join((f"{_names(results)}: {verdict.value}", _row("fault", fault), _indented(why)))
            for why, results in groups.items()
        ]

    # For programs ---------------------------------------------------------------------------------

    def junit(self) -> str:
        """Return the report as JUnit XML, with a test case for each check."""
        suite = ElementTree.Element(
            "testsuite",
            name=_xml(f"vmsdk check {self.target}, protocol {self.protocol}"),
            tests=str(len(self.results)),
            failures=str(len(self.of(Verdict.VIOLATED))),
            errors=str(len(self.of(Verdict.ERROR)) + len(self.of(Verdict.HOOK))),
            skipped=str(len(self.of(Verdict.SKIPPED))),
            time=f"{self.seconds:.3f}",
        )
        for result in self.results:
            case = ElementTree.SubElement(
                suite,
                "testcase",
                classname=result.check.area,
                name=result.check.name,
                time=f"{result.seconds:.3f}",
            )
            if result.verdict is Verdict.SKIPPED:
                ElementTree.SubElement(case, "skipped", message=_xml(result.why))
            elif result.violation is not None:
                failure = ElementTree.SubElement(
                    case, "failure", message=_xml(result.violation.message), type=result.check.severity.value
                )
                failure.text = _xml(_violation(result, []))
            elif result.verdict is not Verdict.PASSED:
                message = result.why.strip().rpartition("\n")[2]
                error = ElementTree.SubElement(
                    case, "error", message=_xml(message), type=result.verdict.value
                )
                error.text = _xml(result.why)
        suites = ElementTree.Element("testsuites")
        suites.append(suite)
        ElementTree.indent(suites)
        return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"

    def json(self) -> str:
        """Return the report as JSON."""
        value = {
            "vmsdk": __version__,
            "target": self.target,
            "protocol": self.protocol,
            "seconds": round(self.seconds, 3),
            "exit_status": self.exit_status,
            "results": [_json(result) for result in self.results],
        }
        return json.dumps(value, indent=2) + "\n"


def _violation(result: Result, others: Sequence[Result]) -> str:
    violation, check = result.violation, result.check
    assert violation is not None
    lines = [f"{check.name}: {violation.message}"]
    rows = [
        ("fault", f"the plugin's: {_EFFECTS[check.severity]}"),
        ("rule", f"{check.reason} ({check.source})"),
        ("sent", violation.sent),
        ("got", violation.got),
        ("node", violation.node),
        ("cure", violation.cure),
        ("also", _names(others)),
    ]
    lines += [_row(label, value) for label, value in rows if value]
    if result.log:
        lines.append(_row("log", "the plugin's last lines:"))
        lines += [f"  {'':{_LABEL}}| {_CONTROL.sub('', line[:300])}" for line in result.log[-10:]]
    return "\n".join(lines)


def _names(results: Sequence[Result]) -> str:
    return ", ".join(result.check.name for result in results)


def _row(label: str, value: str) -> str:
    first = f"  {label:{_LABEL}}"
    return textwrap.fill(
        value[:2000],
        _WIDTH,
        initial_indent=first,
        subsequent_indent=" " * len(first),
        break_on_hyphens=False,
        break_long_words=False,
    )


def _indented(text: str) -> str:
    return textwrap.indent(text.rstrip(), "  ")


def _xml(text: str) -> str:
    return _NOT_IN_XML.sub("\ufffd", text)


def _json(result: Result) -> dict[str, object]:
    check, violation = result.check, result.violation
    value: dict[str, object] = {
        "name": check.name,
        "rule": check.reason,
        "severity": check.severity.value,
        "source": check.source,
        "verdict": result.verdict.value,
        "seconds": round(result.seconds, 3),
    }
    if result.why:
        value["why"] = result.why
    if violation is not None:
        value["violation"] = {
            name: getattr(violation, name) for name in ("message", "sent", "got", "node", "cure")
        }
        value["log"] = list(result.log)
    return value
