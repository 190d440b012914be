#!/usr/bin/env python3
"""docs/configuration.md names every key of braidd.toml that the parser knows, under its section, with its bounds and choices, and
no other."""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SIZES = {"KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}


def bounds_of(reader):
    """The least and the most of number(), size() and milliseconds()."""
    call = re.match(r"(number|size|milliseconds)\(([^()]*)\)", reader)
    if not call:
        return []
    terms = [t.replace("'", "").replace("ull", "") for t in call[2].split(",")[1:]]
    values = [eval(t) for t in terms]  # "16 << 20", of our own source
    return [0, *values] if call[1] == "milliseconds" else values


def spelled(value):
    """The ways in which the page may write a number."""
    out = {str(value)}
    out |= {f"{value >> shift} {unit}" for unit, shift in SIZES.items() if value and value % (1 << shift) == 0}
    return out


def page_keys(page):
    """(section, key) -> its row."""
    keys, section = {}, None
    for line in page.splitlines():
        heading = re.match(r"## \[(\w+)\]", line)
        section = heading[1] if heading else section
        row = re.match(r"\| `(\w+)` \|", line)
        if row:
            keys[section, row[1]] = [cell.strip() for cell in line.strip("|").split("|")]
    return keys


def parsed_keys(source):
    """(section, key) -> how the parser reads it."""
    body = source[source.index("std::vector<Key> keys_of("):]
    body = body[:body.index("\n}\n")]
    entries = re.split(r'\n        (?=\{"\w+", "\w+",)', body)[1:]
    matches = [re.match(r'\{"(\w+)", "(\w+)",\s*(.*)', entry, re.S).groups() for entry in entries]
    return {(section, key): reader for section, key, reader in matches}


def complaints(source, page):
    parsed = parsed_keys(source)
    told = page_keys(page)
    out = [f"[{s}] {k} is not in the page" for s, k in parsed if (s, k) not in told]
    out += [f"[{s}] {k} is in the page, and the parser does not know it" for s, k in told if (s, k) not in parsed]
    for where, reader in parsed.items():
        if where not in told:
            continue
        if len(told[where]) != 4 or not all(told[where]):
            out.append(f"[{where[0]}] {where[1]}: a row has key, default, bounds and meaning: {told[where]}")
            continue
        for value in bounds_of(reader):
            if not any(re.search(rf"(?<!\d){re.escape(text)}(?![\w])", told[where][2]) for text in spelled(value)):
                out.append(f"[{where[0]}] {where[1]}: {value} is not among the bounds: {told[where][2]}")
        for word in re.findall(r'\{"(\w+)", \w+', reader):
            if f'"{word}"' not in told[where][2]:
                out.append(f'[{where[0]}] {where[1]}: "{word}" is not among the choices: {told[where][2]}')
    return out if parsed else ["no key was found in the parser"]


def self_test(source, page):
    """The check fails for a key, a section, a bound and a choice that are missing."""
    broken = {"a key": page.replace("| `window_age_ms` |", "| `x_ms` |"), "a bound": page.replace("31536000", "31"),
              "a choice": page.replace('"threads"', '"others"'), "a section": page.replace("## [limits]", "## [others]")}
    return [f"{what} can be wrong, and nobody sees it" for what, text in broken.items() if not complaints(source, text)]


def main():
    source = (ROOT / "apps/braidd/config.cc").read_text()
    page = (ROOT / "docs/configuration.md").read_text()
    wrong = complaints(source, page) or self_test(source, page)
    print("\n".join(wrong) or "docs/configuration.md and the parser agree")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
