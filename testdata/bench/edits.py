#!/usr/bin/env python3
"""edits.py PLAN.json OUT ROOT-TREE

Turns plans (`piimg plan --json`) into folders that edit.sh lays over an image:
OUT/NODE/boot and OUT/NODE/root with files of the plan's names and sizes, and the
lists OUT/NODE/remove and OUT/NODE/owners. Secret contents are not in a plan:
they become fillers of a likely length. ROOT-TREE is the base's root, for the
symbolic links in the paths' parents.
"""
import json
import os
import shutil
import sys


def main():
    plan_file, out, tree = sys.argv[1:4]
    with open(plan_file) as f:
        plans = json.load(f)
    plans = plans["plans"] if isinstance(plans, dict) else plans
    for plan in plans:
        node = os.path.join(out, plan["node"])
        boot, root = os.path.join(node, "boot"), os.path.join(node, "root")
        os.makedirs(boot)
        os.makedirs(root)
        with open(os.path.join(node, "remove"), "w") as remove, open(os.path.join(node, "owners"), "w") as owners:
            for e in plan["edits"]:
                path = e["path"]
                if e["partition"] == "root":
                    parent = os.path.realpath(os.path.join(tree, os.path.dirname(path)))
                    path = os.path.join(os.path.relpath(parent, os.path.realpath(tree)), os.path.basename(path))
                    path = os.path.normpath(path)
                top = boot if e["partition"] == "boot" else root
                full = os.path.join(top, path)
                if e["op"] in ("remove", "rename"):
                    remove.write((e.get("from") or path) + "\n")
                    if e["op"] == "remove":
                        continue
                os.makedirs(os.path.dirname(full), exist_ok=True)
                if e["op"] == "mkdir" or e["op"] == "rename":
                    os.makedirs(full, exist_ok=True)
                elif e["op"] == "symlink":
                    os.symlink(e["target"], full)
                elif e.get("source"):
                    shutil.copyfile(e["source"], full)
                else:
                    text = e.get("content") or ""
                    if e.get("secret"):
                        text = "x" * 400 + "\n"
                    with open(full, "w") as f:
                        f.write(text)
                if top is root:
                    # A folder that is there already keeps its mode and owner.
                    owners.write(f"{e.get('uid', 0)}:{e.get('gid', 0)} {e.get('mode', '-')} {path}\n")
            for folder, _, _ in os.walk(root):
                rel = os.path.relpath(folder, root)
                there = os.path.join(tree, rel)
                if os.path.isdir(there):
                    s = os.stat(there)
                    os.chown(folder, s.st_uid, s.st_gid)
                    os.chmod(folder, s.st_mode & 0o7777)


main()
