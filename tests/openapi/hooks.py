"""What schemathesis is told beyond its configuration: to keep a tally of the answers. The test reads it afterwards, so that
a run in which nothing was ever stored cannot pass."""

import atexit
import json
import os
from collections import Counter

import schemathesis

seen = Counter()


@schemathesis.hook
def after_call(context, case, response):
    seen[f"{case.method.upper()} {case.operation.path} {response.status_code}"] += 1


@atexit.register
def write():
    with open(os.environ["HELIX_OPENAPI_TALLY"], "w", encoding="utf-8") as tally:
        json.dump(seen, tally, indent=1, sort_keys=True)
