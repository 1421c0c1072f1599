"""Make tests/vectors/checks.json of the records that the tests of `relay check` keep.

RECORD_CHECKS=/some/folder pytest tests/path/test_check.py tests/lab
python tests/vectors/checks.py /some/folder
"""

import json
import re
import sys
from pathlib import Path

OUT = Path(__file__).with_name("checks.json")


def main(folder: str) -> None:
    vectors = [json.loads(path.read_text("utf-8")) for path in sorted(Path(folder).glob("*.json"))]
    lines = [re.sub(r"\s+", " ", json.dumps(vector)) for vector in vectors]
    OUT.write_text("[\n" + ",\n".join(lines) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
