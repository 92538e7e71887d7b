#!/usr/bin/env python3
"""Fails if an external symbol does not start with its file's or folder's name.

usage: symbols.py LIB...   (archives build/<variant>/lib<folder>.a)

A symbol may start with the folder's name (vec_scan), the file's (buf_append in
base/buf.c), or the file's first words (search_ in db/search/search_plan.c). Names that
somebody else prescribes are listed in ALLOWED."""
import pathlib
import re
import subprocess
import sys

ALLOWED = {
    "main",
    "malloc_conf",  # jemalloc's
}


def symbols(lib):
    """(object name, symbol) for every external definition of an archive."""
    out = subprocess.run(["nm", "-A", "--defined-only", "--extern-only", lib],
                         capture_output=True, text=True, check=True).stdout
    for line in out.splitlines():
        yield line.split(":")[1], line.split()[-1]


def prefixes(folder, obj):
    """The beginnings a symbol of an object file may have."""
    words = re.sub(r"\.o$", "", obj).split("_")
    whole = ["_".join(words[:n]) for n in range(1, len(words) + 1)]
    plain = {folder} | set(whole)
    # conn_read.c serves conn_*; net/ calls its objects conn and listener.
    extra = {
        "base": {"assert"},
        "net": {"conn", "reply_slot", "listener", "loop"},
        "resp": {"reply"},
        "index": {"ivf"},  # index/ivf/: centroids.c, codes.c ...
        "cmd": {"command", "client", "arg", "vset_key", "vsearch", "multi",
                "monitor", "slowlog", "job", "vector_arg"},
        "server": {"config"},
    }
    return plain | extra.get(folder, set())


def main():
    bad = 0
    for lib in sys.argv[1:]:
        folder = re.sub(r"^lib|\.a$", "", pathlib.Path(lib).name)
        for obj, symbol in symbols(lib):
            if symbol in ALLOWED or symbol.startswith("__"):
                continue
            if not any(symbol == p or symbol.startswith(p + "_")
                       for p in prefixes(folder, obj)):
                print(f"{folder}/{obj}: {symbol} has no prefix of its module")
                bad += 1
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
