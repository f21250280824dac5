"""The document's first sample, and what a handler finds around it."""

import json
import os


class Handler:
    def __init__(self, config):
        with open("values.json") as values_file:
            values = json.load(values_file)
        self.values = values
        self.config = config

    def handle_async(self):
        files = [os.path.relpath(os.path.join(folder, name)) for folder, _, names in os.walk(".") for name in names]
        variables = {name: value for name, value in os.environ.items() if name.startswith("CLASSIFIER_")}
        return {"values": self.values, "config": self.config, "files": sorted(files), "variables": variables}
