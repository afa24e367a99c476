"""The table of all results: `benchmarks/results/README.md`, made from the JSON files.

python benchmarks/report.py
"""

from __future__ import annotations

import operator
from pathlib import Path
from typing import Any

from measure import PICTURES, REPO, RESULTS, read_result
from sets import ROWS, Check

_RELATIONS = {"<=": operator.le, ">=": operator.ge, "==": operator.eq}

HEAD = """\
# Results

Made by `benchmarks/report.py` from the JSON files in this folder; every section names the command
that repeats it. `$DATA` is the folder of the data sets, `OUT` the run folder. "must" is what the
project asks of itself, "aim" what it would like; a row without either only states a figure.
"""


def write_table() -> Path:
    """Write the table; returns its path."""
    sections = [_section(name) for name in ROWS if read_result(name)]
    if read_result("mvs"):
        sections.append(_mvs(read_result("mvs")))
    sections.append((RESULTS / "left_out.md").read_text())
    path = RESULTS / "README.md"
    path.write_text("\n".join([HEAD, *sections]))
    return path


def figure(result: dict[str, Any], path: str) -> Any:
    """Value at a dotted path; None when it is not there. Keys may hold dots themselves."""
    node: Any = result
    parts = path.split(".")
    while parts:
        if isinstance(node, list | tuple):
            node = node[int(parts[0])] if int(parts[0]) < len(node) else None
            parts = parts[1:]
            continue
        if not isinstance(node, dict):
            return None
        used = next((n for n in range(len(parts), 0, -1) if ".".join(parts[:n]) in node), 0)
        if not used:
            return None
        node, parts = node[".".join(parts[:used])], parts[used:]
    return node


def judge(check: Check, value: Any) -> str:
    """ "yes", "no" or "" when nothing is asked; "not measured" without a figure."""
    if value is None:
        return "not measured"
    if not check.relation:
        return ""
    return "yes" if _RELATIONS[check.relation](value, check.bound) else "**no**"


def _section(name: str) -> str:
    result, row = read_result(name), ROWS[name]
    lines = [f"## {name}", "", f"`{result['command']}`: `{result['runs']}`", ""]
    if result.get("exit_code"):
        lines += [f"**The run ended with exit code {result['exit_code']}.**", ""]
    lines += ["| what | asked | measured | met |", "|---|---|---|---|"]
    for check in row.checks:
        value = figure(result, check.figure)
        asked = ""
        if check.relation:
            word = "aim" if check.aim else "must"
            asked = f"{word} {check.relation} {_show(check.bound, check)}"
        shown = "" if value is None else _show(value, check)
        lines.append(f"| {check.text} | {asked} | {shown} | {judge(check, value)} |")
    memory = result.get("peak_rss_bytes", 0) / 1e9
    cold = ", kernels not yet compiled" if result.get("cold_kernels") else ""
    # Both, because a machine that does other work too makes the first larger, hardly the second.
    times = f"{result.get('wall_s', 0):.0f} s ({result.get('cpu_s', 0):.0f} s of CPU)"
    lines += ["", f"{times}, {memory:.2f} GB{cold}. {_where(result)}"]
    stages = [f"{k} {v['seconds']:.0f} s" for k, v in result.get("stages", {}).items()]
    if stages:
        lines += ["", "Stages: " + ", ".join(stages) + "."]
    errors = [f"{k}: {v['error']}" for k, v in result.get("evals", {}).items() if "error" in v]
    lines += ["", *[f"Not scored: {error}" for error in errors]]
    kept = [PICTURES / f"{name}_{what.name}.png" for what in row.evals if what.picture]
    lines += [f"![errors](pictures/{path.name})\n" for path in kept if path.is_file()]
    return "\n".join(lines)


def _mvs(result: dict[str, Any]) -> str:
    lines = ["## Multi-view stereo", "", f"`{result['command']}`", ""]
    lines += [result["note"], ""]
    lines += [
        "| | s per MP and photo | peak memory | known | within 0.5 % | within 2 % | median error |",
        "|---|---|---|---|---|---|---|",
    ]
    for entry in result["rows"]:
        d = entry["depth"]
        lines.append(
            f"| {entry['name']} | {entry['seconds_per_megapixel']:.2f} "
            f"| {entry['peak_rss_bytes'] / 1e9:.2f} GB | {100 * d['completeness']:.1f} % "
            f"| {100 * d['within_0.5_percent']:.1f} % | {100 * d['within_2_percent']:.1f} % "
            f"| {100 * (d['median_relative_error'] or 0):.3f} % |"
        )
    if result.get("ratio_to_first"):
        ratio = result["ratio_to_first"]
        lines += ["", "Against the first landed version: " + ratio["text"]]
    lines += ["", _where(result), ""]
    return "\n".join(lines)


def _show(value: Any, check: Check) -> str:
    if isinstance(value, str):
        return value
    number = f"{value * check.factor:.4g}"
    return f"{number} {check.unit}".strip()


def _where(result: dict[str, Any]) -> str:
    machine = result.get("machine", {})
    return (
        f"{machine.get('cores')} cores of {machine.get('cpu')}, {result.get('date')}, "
        f"commit {result.get('commit')}."
    )


if __name__ == "__main__":
    print(write_table().relative_to(REPO))
