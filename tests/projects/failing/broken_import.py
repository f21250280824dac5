import a_package_that_is_missing  # noqa: F401


class Handler:
    def handle_async(self):
        return {}
