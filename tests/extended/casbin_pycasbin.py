#!/usr/bin/env python3
"""Compares the decisions of towerkit-auth-casbin with those of pycasbin (CA-01).

    cargo build -p towerkit-auth-casbin --example casbin_enforce
    pip install casbin
    tests/extended/casbin_pycasbin.py target/debug/examples/casbin_enforce FOLDER

FOLDER has models and policies, such as the folder examples of casbin's repository. A model is paired with the policies of its name.
For each pair, requests are made of the texts in the policy. Prints one line for each pair, and the decisions that differ.
"""

import itertools
import logging
import os
import random
import re
import subprocess
import sys

import casbin

LIMIT = 600


def pairs(folder):
    names = sorted(os.listdir(folder))
    policies = [name for name in names if name.endswith(".csv")]
    for model in (name for name in names if name.endswith(".conf")):
        stem = model.replace("_model", "").replace(".conf", "")
        bare = re.sub(r"(_in_multi_line|_without_spaces|_with_root|_matcher_using_in_op.*)$", "", stem)
        own = [p for p in policies if p.replace("_policy", "").replace(".csv", "") in (stem, bare)]
        own += [p for p in policies if p.startswith(stem + "_") and p not in own]
        for policy in own or [None]:
            yield model, policy


def definition(text, section):
    found = re.search(r"(?m)^\s*%s\s*=\s*(.*)$" % section, text)
    return [name.strip() for name in found.group(1).split("#")[0].split(",")] if found else []


def requests(model, policy):
    request, fields = definition(model, "r"), definition(model, "p")
    values = {name: {"", "other", "/other"} for name in request}
    likely, members = [], []
    for line in policy.splitlines():
        parts = [part.strip().strip('"') for part in line.split(",")]
        if not line.strip() or line.startswith("#"):
            continue
        if parts[0] == "p":
            rule = {}
            for name, value in zip(fields, parts[1:]):
                rule[name] = re.sub(r":[^/]+|\{[^/]+?\}", "7", value.replace("*", "x/y"))
                values.get(name, set()).update((value, rule[name]))
            likely.append(tuple(rule.get(name, "other") for name in request))
        elif parts[0].startswith("g"):
            members.append(parts[1:])
            for name in request:
                values[name].update(parts[1:])
    # A request like each rule, also with a member in place of each role.
    for _ in range(3):
        for rule, (member, role, *_) in itertools.product(likely[:], members):
            made = tuple(member if text == role else text for text in rule)
            if made not in likely:
                likely.append(made)
    texts = [sorted(values[name]) for name in request]
    size = 1
    for part in texts:
        size *= len(part)
    if size <= LIMIT:
        return likely + list(itertools.product(*texts))
    draw = random.Random(7)
    return likely + [tuple(draw.choice(part) for part in texts) for _ in range(LIMIT)]


def theirs(model, policy, grid):
    try:
        enforcer = casbin.Enforcer(model, policy) if policy else casbin.Enforcer(model)
    except Exception as error:
        return "error at start: %s" % error
    decisions = []
    for request in grid:
        try:
            decisions.append("allow" if enforcer.enforce(*request) else "deny")
        except Exception as error:
            decisions.append("error: %s" % str(error).splitlines()[:1])
    return decisions


def ours(program, model, policy, grid):
    text = "".join("\t".join(request) + "\n" for request in grid)
    run = subprocess.run([program, model, policy or os.devnull], input=text, capture_output=True, text=True)
    if run.returncode:
        return "error at start: %s" % run.stderr.strip()
    return run.stdout.splitlines()


def main(program, folder):
    logging.disable(logging.CRITICAL)
    total = equal = 0
    for model, policy in pairs(folder):
        paths = [os.path.join(folder, name) if name else None for name in (model, policy)]
        texts = [open(path).read() if path else "" for path in paths]
        grid = requests(*texts)
        left, right = ours(program, *paths, grid), theirs(*paths, grid)
        if isinstance(left, str) or isinstance(right, str):
            print("%s %s: ours %s; theirs %s" % (model, policy, left if isinstance(left, str) else "starts", right if isinstance(right, str) else "starts"))
            continue
        same = [a == b or a[:5] == b[:5] == "error" for a, b in zip(left, right)]
        total += len(same)
        equal += sum(same)
        print("%s %s: %d of %d equal, %d allowed" % (model, policy, sum(same), len(same), left.count("allow")))
        different = [(r, a, b) for r, a, b, s in zip(grid, left, right, same) if not s]
        for request, a, b in different[:4]:
            print("    %s: ours %s; theirs %s" % (request, a, b))
    print("%d of %d decisions are equal" % (equal, total))


main(*sys.argv[1:])
