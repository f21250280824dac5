from outside.classes import *  # noqa: F403
