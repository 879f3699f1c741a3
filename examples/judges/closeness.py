"""A judge that is a command: how close each answer comes to its target, from 0 to 1."""

import json
import sys
from difflib import SequenceMatcher


def main() -> None:
    """Read one JSON document, print one."""
    told = json.load(sys.stdin)
    pairs = [(item["answer"].strip(), item["fields"]["target"]) for item in told["items"]]
    print(json.dumps({"scores": [SequenceMatcher(None, a, b).ratio() for a, b in pairs]}))


if __name__ == "__main__":
    main()
