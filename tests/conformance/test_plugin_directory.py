"""A plugin in a directory of its own, as a node has it, that leaves a file there."""

from __future__ import annotations

import sys
from pathlib import Path

from vmsdk.testing.bench import Bench
from vmsdk.testing.contract import all_checks
from vmsdk.testing.run import Verdict, run_checks

ROOT = Path(__file__).parents[2]


def test_a_file_beside_the_plugin_is_found(tmp_path: Path) -> None:
    plugin = tmp_path / "plugin"
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
    assert result.verdict is Verdict.VIOLATED
    assert result.violation is not None
    assert str(plugin.with_suffix(".pid")) in result.violation.got
