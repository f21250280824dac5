import os
import sys

import one
import sibling
import two
import whole


class Handler:
    def handle_async(self):
        with open("downloads/greeting.txt") as greeting:
            said = greeting.read().strip()
        return {
            "names": [module.NAME for module in (whole, one, two, sibling)],
            "greeting": [said, os.environ["GREETING"]],
            "two": os.path.relpath(two.__file__),
            "one in the environment": one.__file__.startswith(sys.prefix),
            "root on the path": os.getcwd() in sys.path,
        }
