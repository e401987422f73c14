"""A plugin in a directory of its own, as a node has it, that leaves a file there."""

from __future__ import annotations

import sys
from pathlib import Path

from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import all_checks
from vmsdk.testing.run import Result, Verdict, run_checks

ROOT = Path(__file__).parents[2]


def result_of(folder: Path) -> Result:
    """The result for a plugin in *folder* that leaves a file beside itself."""
    plugin = folder / "plugin"
    plugin.write_text(
        f"#!{sys.executable}\n"
        f"import sys\nsys.path[0] = {str(ROOT)!r}\n"
        "from tests.conformance import goodvm\n"
        "goodvm.main('45', 'life:WritesBesideItself')\n",
        encoding="utf-8",
    )
    plugin.chmod(0o755)
    checks = [check for check in all_checks() if check.name == "life.leaves-no-file"]
    (result,) = run_checks(Bench([str(plugin)], protocol=45), checks)
    assert plugin.with_suffix(".pid").exists()
    return result


def test_a_file_beside_the_plugin_is_found(tmp_path: Path) -> None:
    result = result_of(tmp_path)
    assert result.verdict is Verdict.VIOLATED
    assert result.violation is not None
    assert str(tmp_path / "plugin.pid") in result.violation.got


def test_a_file_in_a_directory_of_all_users_may_be_of_another_program(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)  # as /tmp
    assert result_of(tmp_path).verdict is Verdict.PASSED
