#!/usr/bin/env python3
"""Runs clang-tidy over the library's sources and fails on any finding.

    check_tidy.py BUILD_FOLDER [PATH_PART...]

A file that passed is not read again until it, a header of ours that it includes, its command or the
checks change: its stamp is in BUILD_FOLDER/tidy.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDERS = ("graph", "ops", "autodiff", "proto", "runtime", "backends")
TIDY = "clang-tidy-19"
INCLUDE = re.compile(rb"^\s*#\s*include\s*<rondo/([^>]+)>", re.M)


def closure(source):
    """A source and every header of ours that it reaches."""
    seen, todo = set(), [source]
    while todo:
        path = todo.pop()
        if path not in seen and path.exists():
            seen.add(path)
            todo += [ROOT / name.decode() for name in INCLUDE.findall(path.read_bytes())]
    return sorted(seen)


def clang_command(entry):
    """The compiler's command without what only g++ understands: its precompiled header."""
    words, kept = shlex.split(entry["command"]), []
    compiler = next(i for i, w in enumerate(words) if re.search(r"(\+\+|clang|gcc)[-\d.]*$", w))
    words = iter(words[compiler + 1:])
    for word in words:
        if word == "-include":
            next(words)
        elif word in ("-o", "-c"):
            if word == "-o":
                next(words)
        elif word not in ("-Winvalid-pch", entry["file"]) and not word.startswith("-fmacro-prefix"):
            kept.append(word)
    # One target of Highway's is enough to read its code.
    return [*kept, "-Wno-everything", "-DHWY_COMPILE_ONLY_STATIC"]


def main(build, *parts):
    if not shutil.which(TIDY):
        print(f"{TIDY} is not installed")
        return 1
    config = (ROOT / ".clang-tidy").read_bytes()
    version = subprocess.run([TIDY, "--version"], capture_output=True, check=True).stdout
    stamps = pathlib.Path(build, "tidy")
    stamps.mkdir(exist_ok=True)

    jobs = {}  # stamp -> (source, command)
    entries = json.loads(pathlib.Path(build, "compile_commands.json").read_text())
    for entry in entries:
        source = pathlib.Path(entry["file"])
        name = os.path.relpath(source, ROOT)
        if name.split("/")[0] not in FOLDERS or (parts and not any(p in name for p in parts)):
            continue
        flags = clang_command(entry)
        key = hashlib.sha256(config + version + "\0".join([name, *flags]).encode())
        for path in closure(source):
            key.update(path.read_bytes())
        stamp = stamps / f"{name.replace('/', '+')}.{key.hexdigest()[:24]}"
        jobs[stamp] = (source, flags)

    for stale in set(stamps.iterdir()) - set(jobs):
        if not parts:
            stale.unlink()
    todo = {stamp: job for stamp, job in jobs.items() if not stamp.exists()}

    def tidy(source, flags):
        return subprocess.run([TIDY, "--quiet", f"--config-file={ROOT}/.clang-tidy", str(source),
                               "--", *flags], cwd=build, capture_output=True, text=True)

    start, failed = time.monotonic(), []
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        running = {pool.submit(tidy, *job): (stamp, job[0]) for stamp, job in todo.items()}
        for future in concurrent.futures.as_completed(running):
            stamp, source = running[future]
            result = future.result()
            if result.returncode == 0:
                stamp.touch()
            else:
                failed.append(source)
                print(result.stdout.replace(f"{ROOT}/", ""), end="")
                if "error:" not in result.stdout:  # clang-tidy itself failed
                    print(result.stderr)
                sys.stdout.flush()
    print(f"{len(jobs)} sources, {len(todo)} read in {time.monotonic() - start:.0f} s, "
          f"{len(failed)} with findings")
    return bool(failed) or not jobs


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]) if len(sys.argv) > 1 else print(__doc__) or 2)
