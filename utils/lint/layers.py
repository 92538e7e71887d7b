#!/usr/bin/env python3
"""Fails if an #include under src/ crosses a boundary drawn in src/LAYERS."""
import pathlib
import re
import sys

SRC = pathlib.Path("src")
INCLUDE = re.compile(r'^\s*#\s*include\s+([<"])([^>"]+)[>"]', re.M)


def read_layers(path):
    """The folders each folder may include, and the fenced system headers."""
    allowed, fences = {}, []
    for n, line in enumerate(path.read_text().splitlines(), 1):
        line = line.split("#")[0].strip()
        if not line:
            continue
        left, _, right = (s.strip() for s in line.partition(":"))
        if left.startswith("only "):
            fences.append((left[5:].strip(), set(right.split())))
            continue
        unknown = set(right.split()) - allowed.keys()
        if unknown:
            sys.exit(f"{path}:{n}: {left} names {sorted(unknown)} before them")
        allowed[left] = set(right.split()) | {left}
    return allowed, fences


def complaint(file, kind, name, allowed, fences):
    """Why a file may not include a header, or None."""
    parts = file.relative_to(SRC).parts
    here = parts[0]
    if kind == "<":
        for prefix, folders in fences:
            if name.startswith(prefix) and here not in folders:
                return f"<{name}> belongs behind {sorted(folders)}"
        return None
    there = name.split("/")[0]
    if there not in allowed:
        return "write the path from src/"
    if there not in allowed[here]:
        return f"{here}/ may not see {there}/"
    if name.endswith("_impl.h") and there != here:
        return "_impl.h is private to its folder"
    if not (SRC / name).exists():
        return "no such header"
    return None


def main():
    allowed, fences = read_layers(SRC / "LAYERS")
    bad = 0
    for file in sorted(SRC.rglob("*.[ch]")):
        if file.relative_to(SRC).parts[0] not in allowed:
            sys.exit(f"{file}: its folder is not in {SRC / 'LAYERS'}")
        text = file.read_text()
        for match in INCLUDE.finditer(text):
            why = complaint(file, *match.groups(), allowed, fences)
            if why:
                line = text.count("\n", 0, match.start(1)) + 1
                print(f"{file}:{line}: {match.group(2)}: {why}")
                bad += 1
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
