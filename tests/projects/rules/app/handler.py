"""Shows what cortex.yaml and .env set for it."""

import os
import sys

import inner

from cortex_internal.lib.log import logger as log


class Handler:
    def handle_async(self):
        log.debug("seen at level debug")
        return {
            "inner": inner.NAME,
            "root_on_path": os.getcwd() in sys.path,
            "files_here": sorted(os.listdir(".")),
            "variables": {name: value for name, value in os.environ.items() if name.startswith("RULES_")},
        }
