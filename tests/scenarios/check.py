#!/usr/bin/env python3
"""The tables of README.md against the files: every scenario stands in them, every name in them is a file, and a file that says it shows
a figure or a hazard stands in that row."""

import re
import sys
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
readme = (HERE / "README.md").read_text()
rows = {}  # "H6" or "figure 13a" -> text of its row
for first, rest in re.findall(r"^\| (.*?) \| (.*) \|$", readme, re.M):
    for hazard in re.findall(r"\bH\d+\b", first):
        rows[hazard] = rest
    for figure in re.findall(r"\b\d\d?[ab]?\b", first) if not re.search(r"\bH\d", first) else []:
        rows["figure " + figure] = rest
wrong = []
named = set(re.findall(r"[a-z0-9]+(?:-[a-z0-9]+)*", readme))
for path in sorted(HERE.glob("*.toml")):
    name = path.stem
    if name not in named:
        wrong.append(f"{name}: not in README.md")
    for shown in tomllib.loads(path.read_text())["shows"]:
        if re.match(r"H\d|figure", shown) and not re.search(rf"\b{name}\b(?!-)", rows.get(shown, "")):
            wrong.append(f"{name} shows {shown}, and that row of README.md does not name it")
for name in re.findall(r"\b(?:figure|h\d\d)-[a-z0-9-]+", readme):
    if not (HERE / f"{name}.toml").exists():
        wrong.append(f"README.md names {name}, which is not there")
print("\n".join(wrong) or f"{len(list(HERE.glob('*.toml')))} scenarios, as README.md says")
sys.exit(1 if wrong else 0)
