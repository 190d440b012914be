#!/usr/bin/env python3
"""Proves the simulator's checkers: breaks the product on purpose, one mutation at a time, and wants each to be found.

  run.py --build DIR                  checks mutations.toml, builds the mutated copy in DIR, runs every mutation, prints the table
  run.py --build DIR --only a,b       these alone
  run.py --build DIR --search         by scenarios, then by fresh seeds, instead of what is recorded; prints what to record
  run.py --build DIR --search --swarm by fresh seeds alone
  run.py --check                      only: does every text still stand in its file exactly once?

All mutations are in one program, each behind the variable BRAID_MUTANT of that program alone; the product's sources know nothing
of it. A mutation is found when a scenario or a seed fails; every one that finds one is also run without a mutation and must pass.
Exits 1 if a mutation is not found or a text has drifted.
"""

import argparse
import concurrent.futures
import os
import random
import re
import resource
import subprocess
import sys
import time
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
SCENARIOS = ROOT / "tests/scenarios"
COPIED = ("CMakeLists.txt", "cmake", "src", "sim", "apps/simulate")
SWITCH = """#pragma once
#include <cstdlib>
inline bool mutant(int number) {
    static const int chosen = [] {
        const char* text = std::getenv("BRAID_MUTANT");
        return text == nullptr ? 0 : std::atoi(text);
    }();
    return chosen == number;
}
"""


def load():
    with open(HERE / "mutations.toml", "rb") as file:
        mutations = tomllib.load(file)["mutation"]
    for number, mutation in enumerate(mutations, 1):
        mutation["number"] = number
    return mutations


def mutated_sources(mutations):
    """File -> its text with all mutations in it, and what is wrong with the texts."""
    texts, original, wrong = {}, {}, []
    for mutation in mutations:
        for edit in mutation["edit"]:
            name = edit["file"]
            path = ROOT / name
            if not path.exists():
                wrong.append(f"{mutation['name']}: there is no {name}")
                continue
            if name not in texts:
                original[name] = texts[name] = path.read_text()
            for text, whose in ((original[name], name), (texts[name], f"{name} after the mutations before it")):
                if text.count(edit["find"]) != 1:
                    first = edit["find"].strip().splitlines()[0]
                    wrong.append(f"{mutation['name']}: stands {text.count(edit['find'])} times in {whose}, not once: {first}")
                    break
            else:
                replacement = edit["replace"].replace("MUTANT", f"mutant({mutation['number']})")
                texts[name] = texts[name].replace(edit["find"], replacement)
    for name, text in texts.items():
        include = '#include "base/mutant.h"\n'
        texts[name] = text.replace("#pragma once\n", "#pragma once\n" + include, 1) if name.endswith(".h") else include + text
    return texts, wrong


def put(path, text):
    """Leaves an equal file alone, so that it is not compiled again."""
    if path.exists() and path.read_bytes() == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)


def build(directory, texts, jobs):
    tree = directory / "tree"
    wanted = set()
    for part in COPIED:
        files = [ROOT / part] if (ROOT / part).is_file() else sorted((ROOT / part).rglob("*"))
        for path in files:
            if not path.is_file():
                continue
            name = path.relative_to(ROOT)
            wanted.add(tree / name)
            put(tree / name, texts[str(name)].encode() if str(name) in texts else path.read_bytes())
    put(tree / "src/base/mutant.h", SWITCH.encode())
    wanted.add(tree / "src/base/mutant.h")
    objects = tree / "build/mutated"
    for path in tree.rglob("*"):
        if path.is_file() and path not in wanted and objects.parent not in path.parents:
            path.unlink()
    log = directory / "build.log"
    with open(log, "w") as out:
        steps = [["cmake", "-S", str(tree), "-B", str(objects), "-G", "Ninja", "-DCMAKE_BUILD_TYPE=RelWithDebInfo",
                  "-DCMAKE_C_COMPILER=" + os.environ.get("BRAID_CC", "clang-19"),
                  "-DCMAKE_CXX_COMPILER=" + os.environ.get("BRAID_CXX", "clang++-19")],
                 ["cmake", "--build", str(objects), "--target", "simulate", "-j", str(jobs)]]
        for step in steps:
            if subprocess.run(step, stdout=out, stderr=subprocess.STDOUT, check=False).returncode != 0:
                sys.exit("the mutated copy does not build:\n" + "\n".join(log.read_text().splitlines()[-30:]))
    return objects / "bin/simulate"


def limit_cpu(seconds):
    def apply():
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds) + 1, int(seconds) + 2))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    return apply


def judge(output, code):
    """The checker that spoke: the first words of what it said."""
    found = re.search(r"^FAILED seed (\d+)", output, re.M)
    seed = int(found[1]) if found else None
    broken = re.search(r"broken invariant: (.*?)(?: \||$)", output, re.M)
    if broken:
        return seed, "assert: " + broken[1]
    lines = output.splitlines()
    for at, line in enumerate(lines):
        if line.startswith("FAILED") and at + 1 < len(lines):
            return seed, re.sub(r"\d{3,}", "N", lines[at + 1].strip()) if ": signal" not in line else line.split(": ", 1)[1]
    return seed, f"the program ended with {code}"


def run_seeds(program, number, first, last, cpu, directory):
    """Seeds used, the seed that failed or None, what the checker said."""
    environment = dict(os.environ, BRAID_MUTANT=str(number))
    command = [str(program), "--seeds", f"{first}..{last}", "--hunt", "--failures", os.devnull]
    done = subprocess.run(command, env=environment, cwd=directory, text=True, errors="replace", stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, preexec_fn=limit_cpu(cpu), check=False)
    announced = [int(n) for n in re.findall(r"^begin (\d+)$", done.stdout, re.M)]
    if done.returncode == 0:
        return len(announced), None, ""
    if done.returncode in (-24, -9):  # out of CPU time: not found, unless one seed ate it all
        if len(announced) == 1:
            return 1, announced[-1], "watchdog: the seed does not end"
        return len(announced), None, ""
    seed, said = judge(done.stdout, done.returncode)
    return len(announced), announced[-1] if seed is None else seed, said


def run_scenario(program, number, name, directory):
    """What was wrong with it, or None if all was well."""
    environment = dict(os.environ, BRAID_MUTANT=str(number))
    command = [str(program), "--scenario", str(SCENARIOS / f"{name}.toml")]
    done = subprocess.run(command, env=environment, cwd=directory, text=True, errors="replace", stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, preexec_fn=limit_cpu(20), check=False)
    if done.returncode == 0:
        return None
    broken = re.search(r"broken invariant: (.*?)(?: \||$)", done.stdout, re.M)
    said = re.search(r"^FAILED.*\n(?:\S*\.toml:)?(.*)", done.stdout, re.M)
    return "assert: " + broken[1] if broken else said[1] if said else f"ended with {done.returncode}"


def ways_of(mutation, options):
    """Where to look, in this order: scenarios by name, ranges of seeds."""
    names = sorted(path.stem for path in SCENARIOS.glob("*.toml"))
    if options.search:
        base = random.randrange(1, 1 << 40)
        return ([] if options.swarm else names) + [(base, base + options.seeds - 1)]
    seeds = [(1, options.seeds)]
    if "seed" in mutation:  # no scenario found it: another seed does sooner
        return [(mutation["seed"], mutation["seed"])] + seeds + names
    recorded = [mutation["scenario"]] if "scenario" in mutation else []
    return recorded + [name for name in names if name not in recorded] + seeds


def hunt(program, mutation, options):
    """What is recorded, then the rest, until the mutation is found or the bound is reached."""
    begin = time.monotonic()
    used = 0
    result = {"mutation": mutation, "scenario": None, "seed": None, "said": ""}
    for way in ways_of(mutation, options):
        if isinstance(way, str):
            said = run_scenario(program, mutation["number"], way, options.build)
            if said is not None:
                result |= {"scenario": way, "said": said}
                break
            continue
        left = options.cpu - (time.monotonic() - begin)
        if left <= 1:
            break
        count, seed, said = run_seeds(program, mutation["number"], *way, left, options.build)
        used += count
        if seed is not None:
            result |= {"seed": seed, "said": said}
            break
    return result | {"used": used, "time": time.monotonic() - begin}


def show(result):
    name = result["mutation"]["name"]
    found_by = f"scenario {result['scenario']}" if result["scenario"] else f"seed {result['seed']}"
    if not result["scenario"] and result["seed"] is None:
        print(f"{name:30}  NOT FOUND in {result['used']} seeds, {result['time']:.0f} s", flush=True)
    else:
        print(f"{name:30} {result['used']:5} {result['time']:6.1f} s  {found_by:<46} {result['said'][:90]}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", type=Path, help="directory of the mutated copy")
    parser.add_argument("--check", action="store_true", help="only look whether the texts still stand where they should")
    parser.add_argument("--search", action="store_true", help="look for what to record")
    parser.add_argument("--swarm", action="store_true", help="search by seeds alone")
    parser.add_argument("--only", help="names, separated by commas")
    parser.add_argument("--seeds", type=int, default=400, help="at most so many seeds per mutation")
    parser.add_argument("--cpu", type=float, default=40, help="at most so many seconds per mutation")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    mutations = load()
    texts, wrong = mutated_sources(mutations)
    for line in wrong:
        print(line)
    if wrong:
        sys.exit("mutations.toml does not fit the sources any more")
    if options.check:
        print(f"{len(mutations)} mutations fit the sources")
        return 0
    if options.build is None:
        parser.error("--build DIR")
    options.build.mkdir(parents=True, exist_ok=True)
    options.build = options.build.resolve()
    begin = time.monotonic()
    program = build(options.build, texts, options.jobs)
    print(f"built in {time.monotonic() - begin:.0f} s")
    names = options.only.split(",") if options.only else [m["name"] for m in mutations if "missed" not in m]
    chosen = [m for m in mutations if m["name"] in names]
    for mutation in mutations:
        if mutation["name"] not in names and not options.only:
            print(f"{mutation['name']:30} not hunted: {mutation['missed']}")
    print(f"{'mutation':30} {'seeds':>5} {'time':>8}  found by", flush=True)
    results = []
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        for future in concurrent.futures.as_completed([pool.submit(hunt, program, m, options) for m in chosen]):
            results.append(future.result())
            show(results[-1])
        seeds = sorted({r["seed"] for r in results if r["seed"] is not None})
        scenarios = sorted({r["scenario"] for r in results if r["scenario"]})
        false_alarms = [f"seed {seed}: {said}" for _, seed, said in
                        pool.map(lambda seed: run_seeds(program, 0, seed, seed, 120, options.build), seeds)
                        if seed is not None]
        false_alarms += [f"scenario {name}: {said}" for name, said in
                         zip(scenarios, pool.map(lambda name: run_scenario(program, 0, name, options.build), scenarios))
                         if said is not None]
    for alarm in false_alarms:
        print(f"fails without any mutation: {alarm}")
    missed = [r["mutation"]["name"] for r in results if r["seed"] is None and not r["scenario"]]
    print(f"{len(results) - len(missed)} of {len(results)} found; {len(scenarios)} scenarios and {len(seeds)} seeds that found them "
          f"pass without a mutation, {time.monotonic() - begin:.0f} s")
    if missed:
        print("not found: " + ", ".join(missed))
    if options.search:
        for result in results:
            if result["scenario"]:
                print(f'record {result["mutation"]["name"]} scenario = "{result["scenario"]}"')
            elif result["seed"] is not None:
                print(f"record {result['mutation']['name']} seed = {result['seed']}")
    return 1 if missed or false_alarms else 0


if __name__ == "__main__":
    sys.exit(main())
