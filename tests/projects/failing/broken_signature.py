from outside.classes import ExtraArgument


class Handler(ExtraArgument):
    pass
