#!/usr/bin/env python3
"""keysearch.py SECRETS IMAGE...   look for the private keys of a secrets file in raw images

Prints a line for each key that stands in an image: as text (a line of its PEM, or
of base64 of the PEM, as kubeconfigs and Secrets hold it), or as DER (the private
number alone for keys on curves, a prime for RSA). Exit status 1 if any was found.
"""

import base64
import os
import re
import subprocess
import sys
import tempfile
import threading


def private_keys(path):
    """Yields (name, PEM) of each private key in the YAML file."""
    name, names = "", []
    text = open(path).read()
    for match in re.finditer(r"^( *)(\w+):(?: *\|-?)?(?: +#[^\n]*)?$|-----BEGIN ([A-Z ]*PRIVATE KEY)-----\n(.*?)-----END", text, re.M | re.S):
        if match[2]:
            depth = len(match[1]) // 2
            names[depth:] = [match[2]]
            name = ".".join(names)
            continue
        lines = [line.strip() for line in match[4].split()]
        yield name, f"-----BEGIN {match[3]}-----\n" + "\n".join(lines) + f"\n-----END {match[3]}-----\n"


def numbers(pem):
    """The secret number of a key, as bytes that every binary form of it has."""
    text = subprocess.run(["openssl", "pkey", "-noout", "-text"], input=pem.encode(), capture_output=True, check=True).stdout.decode()
    for part in ("priv", "prime1"):
        if match := re.search(rf"^{part}:\n((?:    [0-9a-f:]+\n)+)", text, re.M):
            number = bytes.fromhex(re.sub(r"[^0-9a-f]", "", match[1]))
            return number.lstrip(b"\0")[:64]
    raise SystemExit("keysearch.py: openssl tells no secret number")


def texts(pem):
    """The lines of a key's PEM, and what base64 makes of its middle."""
    lines = pem.split("\n")[1:-2]
    # What base64 makes of bytes depends on where they stand.
    body = "\n".join(lines).encode()
    encoded = [base64.b64encode(b" " * shift + body)[4:72].decode() for shift in range(3)]
    return [line for line in lines if len(line) >= 40] + encoded


def extents(f, overlap=128):
    """Yields the file's content without its holes, in pieces that overlap."""
    end = os.fstat(f.fileno()).st_size
    at = 0
    while at < end:
        try:
            at = os.lseek(f.fileno(), at, os.SEEK_DATA)
        except OSError:  # a hole to the end
            return
        stop = os.lseek(f.fileno(), at, os.SEEK_HOLE)
        while at < stop:
            yield os.pread(f.fileno(), min(stop - at, 1 << 20), at)
            at += min(stop - at, (1 << 20) - overlap)


def main(secrets, images):
    keys = list(private_keys(secrets))
    if not keys:
        raise SystemExit(f"keysearch.py: no private key in {secrets}")
    if len({name for name, _ in keys}) < len(keys):
        raise SystemExit(f"keysearch.py: two keys of {secrets} have the same name")
    binary = {name: numbers(pem) for name, pem in keys}
    text = {form: name for name, pem in keys for form in texts(pem)}
    found = set()
    with tempfile.NamedTemporaryFile("w") as patterns:
        patterns.write("\n".join(text))
        patterns.flush()
        for image in images:
            # grep would read the holes.
            grep = subprocess.Popen(["grep", "-aoF", "-f", patterns.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            hits = []
            reader = threading.Thread(target=lambda: hits.extend(grep.stdout.read().decode(errors="replace").split()))
            reader.start()
            with open(image, "rb") as f, grep.stdin:
                for piece in extents(f):
                    found |= {(image, name, "DER") for name, number in binary.items() if number in piece}
                    grep.stdin.write(piece + b"\n")
            reader.join()
            if grep.wait() > 1:
                raise SystemExit("keysearch.py: grep failed")
            found |= {(image, text[hit], "text") for hit in hits if hit in text}
    for image, name, what in sorted(found):
        print(f"{image}: {name} as {what}")
    sys.exit(bool(found))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
