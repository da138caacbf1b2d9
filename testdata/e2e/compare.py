#!/usr/bin/env python3
"""compare.py BASE BUILT PLAN.json NODE

BASE and BUILT are folders with boot/ and root/, the trees of an untouched image
and of NODE's. Every file that the plan (`piimg plan --json`) does not name must
be the same in both, in type, content, owner, mode, link count, time and
extended attributes. Folders above a named path may differ in their time, size
and link count. Prints each difference; exit status 1 if there is one, or if a
path that the plan writes is missing.
"""
import json
import os
import stat
import sys


def walk(top):
    """Maps each path below top to its lstat; folders that differ from top's
    file system are not entered."""
    found = {"": os.lstat(top)}
    todo = [""]
    while todo:
        folder = todo.pop()
        for entry in os.scandir(os.path.join(top, folder)):
            path = os.path.join(folder, entry.name)
            found[path] = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                todo.append(path)
    return found


def same_content(a, b):
    with open(a, "rb") as f, open(b, "rb") as g:
        while True:
            x, y = f.read(1 << 20), g.read(1 << 20)
            if x != y:
                return False
            if not x:
                return True


def attributes(path):
    return {n: os.getxattr(path, n, follow_symlinks=False)
            for n in os.listxattr(path, follow_symlinks=False)}


def differences(a, b, sa, sb):
    """What is different between the paths a and b."""
    if stat.S_IFMT(sa.st_mode) != stat.S_IFMT(sb.st_mode):
        return ["type"]
    out = [n for n, x, y in (
        ("mode", sa.st_mode, sb.st_mode), ("uid", sa.st_uid, sb.st_uid), ("gid", sa.st_gid, sb.st_gid),
        ("links", sa.st_nlink, sb.st_nlink), ("size", sa.st_size, sb.st_size),
        ("mtime", sa.st_mtime_ns, sb.st_mtime_ns), ("device", sa.st_rdev, sb.st_rdev)) if x != y]
    if stat.S_ISLNK(sa.st_mode):
        if os.readlink(a) != os.readlink(b):
            out.append("target")
    elif stat.S_ISREG(sa.st_mode) and "size" not in out and not same_content(a, b):
        out.append("content")
    if attributes(a) != attributes(b):
        out.append("xattrs")
    return out


def resolve(top, path):
    """path with the symbolic links of its parents followed inside top."""
    parts, done, hops = path.split("/"), [], 0
    while len(parts) > 1:
        part = parts.pop(0)
        if part in ("", "."):
            continue
        if part == "..":
            done = done[:-1]
            continue
        full = os.path.join(top, *done, part)
        if os.path.islink(full) and hops < 40:
            hops += 1
            target = os.readlink(full)
            if target.startswith("/"):
                done = []
            parts = [p for p in target.split("/") if p] + parts
        else:
            done.append(part)
    return "/".join(done + parts)


def main():
    base, built, plan_file, node = sys.argv[1:5]
    with open(plan_file) as f:
        plans = json.load(f)
    plans = plans["plans"] if isinstance(plans, dict) else plans
    plan = next(p for p in plans if p["node"] == node)
    bad = compared = 0
    for part in ("boot", "root"):
        top, new = os.path.join(base, part), os.path.join(built, part)
        named, below = set(), []
        for e in plan["edits"]:
            if e["partition"] != part:
                continue
            for p in [e["path"]] + ([e["from"]] if e.get("from") else []):
                for real in {resolve(top, p), resolve(new, p)}:
                    named.add(real)
                    if e["op"] in ("remove", "rename"):
                        below.append(real + "/")
            if e["op"] in ("write", "mkdir", "symlink") and not os.path.lexists(os.path.join(new, resolve(new, e["path"]))):
                print(f"{part}: {e['path']}: the plan has it, the image has not")
                bad += 1
        above = {""}
        for p in named:
            while "/" in p:
                p = p.rsplit("/", 1)[0]
                above.add(p)
        a, b = walk(top), walk(new)
        for path in sorted(a.keys() | b.keys()):
            if path in named or path.startswith(tuple(below)):
                continue
            compared += 1
            if path not in b:
                what = ["missing"]
            elif path not in a:
                # A folder made for what the plan put below it.
                what = [] if path in above and stat.S_ISDIR(b[path].st_mode) else ["added"]
            else:
                what = differences(os.path.join(top, path), os.path.join(new, path), a[path], b[path])
                if path in above and stat.S_ISDIR(a[path].st_mode):
                    what = [w for w in what if w not in ("mtime", "size", "links")]
            if what:
                print(f"{part}: {path or '.'}: {', '.join(what)}")
                bad += 1
    print(f"{compared} paths that the plan does not name, {bad} differences")
    sys.exit(bad != 0)


main()
