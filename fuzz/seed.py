#!/usr/bin/env python3
"""Writes the fuzzers' seeds, fuzz/corpus/TARGET/, from protocol-spec/vectors/."""

import json
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).resolve().parent
VECTORS = HERE.parent / "protocol-spec" / "vectors"

# Target: the families whose bytes it reads.
SEEDS = {
    "frames": ["frames"],
}


def main():
    for target, families in SEEDS.items():
        folder = HERE / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        for family in families:
            for vector in json.loads((VECTORS / f"{family}.json").read_text(encoding="utf-8")):
                data = bytes.fromhex(vector["bytes"])
                (folder / f"vector-{sha256(data).hexdigest()[:16]}").write_bytes(data)


if __name__ == "__main__":
    main()
